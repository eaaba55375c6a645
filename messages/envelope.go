package messages

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Kind says what an envelope on the events stream carries.
type Kind string

// The kinds of envelope.
const (
	KindEvent Kind = "event" // a webhook event; Body is what TeleSign posted, byte for byte
	KindTold  Kind = "told"  // a report of what ingress answered instead of the worker; Body is a Told
)

// Envelope is one message of the events stream. Ingress writes it, workers read
// it, nobody changes it. Its fields travel in headers so that Body stays exactly
// what arrived.
type Envelope struct {
	Kind     Kind
	EventID  string    // unique per HTTP request; see NewEventID
	CallID   string    // TeleSign's reference_id
	Event    string    // TeleSign's event name
	Arrived  time.Time // when ingress had the request; microseconds
	Deadline time.Time // when the answer must have left; zero when nobody waits
	ReplyTo  string    // the inbox that waits for a Reply; empty when nobody waits
	Late     bool      // published after its answer had been given, from a spool
	// Sequence is the place that an envelope of the late lane had in the events
	// stream; 0 everywhere else.
	Sequence uint64
	Trace    string // W3C traceparent, empty when there is none
	State    string // W3C tracestate that came with it
	Body     []byte
}

// The headers of an Envelope. NATS keeps their case.
const (
	headerKind     = "Offhook-Kind"
	headerEventID  = "Offhook-Event-Id"
	headerCallID   = "Offhook-Call-Id" // path-escaped: the id is opaque and may hold anything
	headerEvent    = "Offhook-Event"   // path-escaped, likewise
	headerArrived  = "Offhook-Arrived" // Unix microseconds
	headerDeadline = "Offhook-Deadline"
	headerReplyTo  = "Offhook-Reply-To"
	headerLate     = "Offhook-Late"
	headerSequence = "Offhook-Sequence"
	headerTrace    = "traceparent"
	headerState    = "tracestate"
)

// NewEventID is a fresh event id: 26 letters and digits, 128 random bits.
func NewEventID() string { return rand.Text() }

// Header is the envelope's fields as message headers, without Body.
func (e Envelope) Header() map[string][]string {
	var h headers
	h.add(headerKind, string(e.Kind))
	h.add(headerEventID, e.EventID)
	h.add(headerCallID, escape(e.CallID))
	h.add(headerArrived, strconv.FormatInt(e.Arrived.UnixMicro(), 10))
	if e.Event != "" {
		h.add(headerEvent, escape(e.Event))
	}
	if !e.Deadline.IsZero() {
		h.add(headerDeadline, strconv.FormatInt(e.Deadline.UnixMicro(), 10))
	}
	if e.ReplyTo != "" {
		h.add(headerReplyTo, e.ReplyTo)
	}
	if e.Late {
		h.add(headerLate, "true")
	}
	if e.Sequence != 0 {
		h.add(headerSequence, strconv.FormatUint(e.Sequence, 10))
	}
	if e.Trace != "" {
		h.add(headerTrace, e.Trace)
	}
	if e.State != "" {
		h.add(headerState, e.State)
	}
	return h.message()
}

// escape makes s fit for a header: it is path-escaped. What needs no escapes, as
// TeleSign's ids do not, costs a look at each byte.
func escape(s string) string {
	for i := range len(s) {
		c := s[i]
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return url.PathEscape(s)
		}
	}
	return s
}

func unescape(s string) (string, error) {
	if strings.IndexByte(s, '%') < 0 {
		return s, nil
	}
	return url.PathUnescape(s)
}

// headers collects up to 11 headers, as many as an Envelope can have, so that the
// map is made in its size and the values share one array.
type headers struct {
	names, values [11]string
	n             int
}

func (h *headers) add(name, value string) {
	h.names[h.n], h.values[h.n] = name, value
	h.n++
}

func (h *headers) message() map[string][]string {
	m := make(map[string][]string, h.n)
	values := slices.Clone(h.values[:h.n])
	for i := range values {
		m[h.names[i]] = values[i : i+1 : i+1]
	}
	return m
}

// ParseEnvelope reads an envelope back from headers and body. An error means that
// the message was not published by offhook, or by a version this one does not
// understand; the message is to be parked, not dropped.
func ParseEnvelope(header map[string][]string, body []byte) (Envelope, error) {
	get := func(name string) string {
		if v := header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	e := Envelope{
		Kind:    Kind(get(headerKind)),
		EventID: get(headerEventID),
		ReplyTo: get(headerReplyTo),
		Late:    get(headerLate) == "true",
		Trace:   get(headerTrace),
		State:   get(headerState),
		Body:    body,
	}
	if e.Kind != KindEvent && e.Kind != KindTold {
		return e, fmt.Errorf("envelope: %s is %q, not an offhook message", headerKind, e.Kind)
	}
	if e.EventID == "" {
		return e, fmt.Errorf("envelope: %s is missing", headerEventID)
	}
	var err error
	if e.CallID, err = unescape(get(headerCallID)); err != nil || e.CallID == "" {
		return e, fmt.Errorf("envelope: %s is %q, want an escaped call id", headerCallID, get(headerCallID))
	}
	if e.Event, err = unescape(get(headerEvent)); err != nil {
		return e, fmt.Errorf("envelope: %s: %w", headerEvent, err)
	}
	if e.Arrived, err = microTime(get(headerArrived)); err != nil {
		return e, fmt.Errorf("envelope: %s: %w", headerArrived, err)
	}
	if v := get(headerDeadline); v != "" {
		if e.Deadline, err = microTime(v); err != nil {
			return e, fmt.Errorf("envelope: %s: %w", headerDeadline, err)
		}
	}
	if v := get(headerSequence); v != "" {
		if e.Sequence, err = strconv.ParseUint(v, 10, 64); err != nil {
			return e, fmt.Errorf("envelope: %s: %w", headerSequence, err)
		}
	}
	return e, nil
}

func microTime(s string) (time.Time, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("want Unix microseconds: %w", err)
	}
	return time.UnixMicro(n).UTC(), nil
}

// Verdict is what a worker's reply asks of ingress.
type Verdict string

// The verdicts.
const (
	// VerdictDecided: write Action as the answer.
	VerdictDecided Verdict = "decided"
	// VerdictHold: nothing can be decided now; report and write the fallback for
	// this event at once instead of waiting for the window to end.
	VerdictHold Verdict = "hold"
)

// Reply is a worker's answer to one event, sent to the envelope's ReplyTo.
type Reply struct {
	Verdict Verdict
	Flow    string // the flow of the call, for metrics; may be empty
	Step    string // the flow step that decided, for metrics; may be empty
	Reason  string // why not, for VerdictHold
	Action  []byte // the JSON action to write, for VerdictDecided
}

const (
	headerVerdict = "Offhook-Verdict"
	headerFlow    = "Offhook-Flow"
	headerStep    = "Offhook-Step"
	headerReason  = "Offhook-Reason"
)

// Header is the reply's fields as message headers, without Action.
func (r Reply) Header() map[string][]string {
	var h headers
	h.add(headerVerdict, string(r.Verdict))
	if r.Flow != "" {
		h.add(headerFlow, escape(r.Flow))
	}
	if r.Step != "" {
		h.add(headerStep, escape(r.Step))
	}
	if r.Reason != "" {
		h.add(headerReason, escape(r.Reason))
	}
	return h.message()
}

// ParseReply reads a reply back. A verdict it does not know counts as a hold: the
// caller hears the fallback rather than silence.
func ParseReply(header map[string][]string, body []byte) Reply {
	get := func(name string) string {
		if v := header[name]; len(v) > 0 {
			if s, err := unescape(v[0]); err == nil {
				return s
			}
		}
		return ""
	}
	r := Reply{Verdict: Verdict(get(headerVerdict)), Flow: get(headerFlow), Step: get(headerStep), Reason: get(headerReason), Action: body}
	if r.Verdict != VerdictDecided || len(body) == 0 {
		r.Verdict, r.Action = VerdictHold, nil
	}
	return r
}

// Told reports what an event was answered with when it was not the worker's reply,
// or that nobody knows. What ingress answers by itself is reported before it is
// written, so the report precedes the call's next event in the stream; that an
// answer may have been lost is reported as soon as somebody notices.
type Told struct {
	EventID string     `json:"event_id"` // the event that was answered
	Answer  ToldAnswer `json:"answer"`
	Reason  string     `json:"reason,omitempty"`
}

// ToldAnswer is what the caller got.
type ToldAnswer string

// What a caller may have been told.
const (
	ToldHold    ToldAnswer = "hold"    // a hold prompt: the decision is still due
	ToldApology ToldAnswer = "apology" // held for too long: the apology, whose end is answered with hangup
	ToldHangup  ToldAnswer = "hangup"  // the call was ended
	ToldNothing ToldAnswer = "nothing" // {}: the event asks for no action
	// ToldUnknown: the worker's decision may or may not have reached TeleSign: the
	// connection broke while it was written (ingress says so), or the ingress that
	// waited for it is gone (the worker does).
	ToldUnknown ToldAnswer = "unknown"
)

// Encode is the report as the body of a KindTold envelope.
func (t Told) Encode() ([]byte, error) { return json.Marshal(t) }

// ParseTold reads the body of a KindTold envelope.
func ParseTold(body []byte) (Told, error) {
	var t Told
	if err := json.Unmarshal(body, &t); err != nil {
		return t, fmt.Errorf("told report: %w", err)
	}
	if t.EventID == "" {
		return t, fmt.Errorf("told report: event_id is missing")
	}
	return t, nil
}
