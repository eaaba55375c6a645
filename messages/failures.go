package messages

import (
	"net/url"
	"strconv"
	"strings"
	"time"
)

// FailureKind is where in offhook something failed. It is a subject token.
type FailureKind string

// The kinds of failure.
const (
	FailureEvent FailureKind = "event" // a message of the events stream
	FailureJob   FailureKind = "job"   // a message of the jobs stream
	FailureDial  FailureKind = "dial"  // a dial whose outcome is unknown or refused
)

// FailureReason is why, in one word that operators can search for.
type FailureReason string

// The reasons.
const (
	ReasonPoison    FailureReason = "poison"    // bytes that cannot be read as what they claim to be
	ReasonPanic     FailureReason = "panic"     // our code panicked on it
	ReasonRejected  FailureReason = "rejected"  // it was understood and can never be processed
	ReasonExhausted FailureReason = "exhausted" // every delivery was used up
	ReasonAmbiguous FailureReason = "ambiguous" // a dial that may or may not have rung
)

// Failure is one entry of the failed stream: the bytes exactly as they were and
// everything that is needed to understand and replay them. Nothing leaves that
// stream except by an operator's word.
type Failure struct {
	Kind     FailureKind
	Reason   FailureReason
	Error    string              // the error chain, outermost first; a panic's stack follows
	Worker   string              // name of the process that gave up
	Attempts int                 // deliveries, this one included
	FailedAt time.Time           // when it was parked
	Subject  string              // where it came from
	Sequence uint64              // its sequence in that stream, 0 if it came from none
	Header   map[string][]string // the original headers
	Body     []byte              // the original bytes
}

const (
	headerFailureKind     = "Offhook-Failure-Kind"
	headerFailureReason   = "Offhook-Failure-Reason"
	headerFailureError    = "Offhook-Failure-Error"
	headerFailureWorker   = "Offhook-Failure-Worker"
	headerFailureAttempts = "Offhook-Failure-Attempts"
	headerFailureAt       = "Offhook-Failure-At"
	headerFailureSubject  = "Offhook-Failure-Subject"
	headerFailureSequence = "Offhook-Failure-Sequence"
	headerFailurePrefix   = "Offhook-Failure-"
	maxFailureError       = 8 << 10
)

// FailureHeader is the failure as message headers: the original ones with the
// failure's own beside them. Body travels as the message's body.
func (f Failure) FailureHeader() map[string][]string {
	h := make(map[string][]string, len(f.Header)+8)
	for k, v := range f.Header {
		if k != "" && !strings.HasPrefix(k, headerFailurePrefix) && !strings.HasPrefix(k, "Nats-") {
			h[k] = v
		}
	}
	chain := f.Error
	if len(chain) > maxFailureError {
		chain = chain[:maxFailureError]
	}
	h[headerFailureKind] = []string{string(f.Kind)}
	h[headerFailureReason] = []string{string(f.Reason)}
	h[headerFailureError] = []string{url.PathEscape(chain)}
	h[headerFailureWorker] = []string{url.PathEscape(f.Worker)}
	h[headerFailureAttempts] = []string{strconv.Itoa(f.Attempts)}
	h[headerFailureAt] = []string{strconv.FormatInt(f.FailedAt.UnixMicro(), 10)}
	h[headerFailureSubject] = []string{f.Subject}
	h[headerFailureSequence] = []string{strconv.FormatUint(f.Sequence, 10)}
	return h
}

// ParseFailure reads a failure back. Missing fields stay zero: a failure must
// always be showable.
func ParseFailure(header map[string][]string, body []byte) Failure {
	get := func(name string) string {
		if v := header[name]; len(v) > 0 {
			return v[0]
		}
		return ""
	}
	text := func(name string) string {
		s, err := url.PathUnescape(get(name))
		if err != nil {
			return get(name)
		}
		return s
	}
	f := Failure{
		Kind:    FailureKind(get(headerFailureKind)),
		Reason:  FailureReason(get(headerFailureReason)),
		Error:   text(headerFailureError),
		Worker:  text(headerFailureWorker),
		Subject: get(headerFailureSubject),
		Header:  make(map[string][]string),
		Body:    body,
	}
	f.Attempts, _ = strconv.Atoi(get(headerFailureAttempts))
	f.Sequence, _ = strconv.ParseUint(get(headerFailureSequence), 10, 64)
	if at, err := microTime(get(headerFailureAt)); err == nil {
		f.FailedAt = at
	}
	for k, v := range header {
		if !strings.HasPrefix(k, headerFailurePrefix) && !strings.HasPrefix(k, "Nats-") {
			f.Header[k] = v
		}
	}
	return f
}
