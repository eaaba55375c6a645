package messages_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
)

// The partition of a call is part of the wire format: these must never change.
func TestPartitionIsStable(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"BC96D7B0D1800164898350B4E71B005C":     "26",
		"534e1848-235f-482d-983d-e3e11a04f58a": "45",
		"C58C8EB012D":                          "54",
		"":                                     "05",
	} {
		if got := messages.Partition(id); got != want {
			t.Errorf("Partition(%q): got %s, want %s", id, got, want)
		}
	}
	if got := messages.EventSubject("C58C8EB012D"); got != "offhook.events.54" {
		t.Errorf("got subject %s", got)
	}
	if got := messages.LateSubject("C58C8EB012D"); got != "offhook.late.54" {
		t.Errorf("got subject %s", got)
	}
}

func TestPartitionsAreEven(t *testing.T) {
	t.Parallel()
	const calls = 64_000
	counts := map[string]int{}
	for i := range calls {
		counts[messages.Partition(fmt.Sprintf("%032X", i*7919))]++
	}
	if len(counts) != messages.Partitions {
		t.Fatalf("%d partitions are used, want %d", len(counts), messages.Partitions)
	}
	for p, n := range counts {
		if n < calls/messages.Partitions/2 || n > calls/messages.Partitions*2 {
			t.Errorf("partition %s has %d of %d calls", p, n, calls)
		}
	}
}

func TestValidToken(t *testing.T) {
	t.Parallel()
	for token, want := range map[string]bool{
		"direct": true, "spring-2026_A": true, strings.Repeat("x", 100): true,
		"": false, "a.b": false, "*": false, ">": false, "a b": false, "é": false, strings.Repeat("x", 101): false,
	} {
		if got := messages.ValidToken(token); got != want {
			t.Errorf("ValidToken(%q): got %v", token, got)
		}
	}
}

func TestEnvelopeSurvivesItsHeaders(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
	for name, e := range map[string]messages.Envelope{
		"full": {
			Kind: messages.KindEvent, EventID: "E1", CallID: "C1", Event: "speak_completed", Arrived: at,
			Deadline: at.Add(2500 * time.Millisecond), ReplyTo: "_INBOX.x.1", Late: true,
			Trace: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", State: "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE",
			Body: []byte(`{"event":"speak_completed"}`),
		},
		"deferred": {
			Kind: messages.KindEvent, EventID: "E1", CallID: "C1", Event: "speak_completed", Arrived: at, Sequence: 1<<64 - 1, Body: []byte{},
		},
		"least":   {Kind: messages.KindTold, EventID: "E1", CallID: "C1", Arrived: at, Body: []byte{}},
		"strange": {Kind: messages.KindEvent, EventID: "E1", CallID: "a b\r\nNats-Rollup: all/é%", Event: "x\r\ny", Arrived: at, Body: []byte{0xff, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for k, values := range e.Header() {
				if strings.ContainsAny(k+strings.Join(values, ""), "\r\n") {
					t.Errorf("header %q: %q would break the message", k, values)
				}
			}
			got, err := messages.ParseEnvelope(e.Header(), e.Body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(e, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// The headers are what other versions read, and what a drained spool is made of.
func TestEnvelopeHeaders(t *testing.T) {
	t.Parallel()
	e := messages.Envelope{
		Kind: messages.KindEvent, EventID: "E1", CallID: "C/1", Event: "speak completed", Arrived: time.UnixMicro(1_700_000_000_000_001),
		Deadline: time.UnixMicro(1_700_000_002_500_001), ReplyTo: "_INBOX.x.1", Late: true, Sequence: 7, Trace: "00-1-2-01", State: "a=b",
	}
	want := map[string][]string{
		"Offhook-Kind": {"event"}, "Offhook-Event-Id": {"E1"}, "Offhook-Call-Id": {"C%2F1"}, "Offhook-Event": {"speak%20completed"},
		"Offhook-Arrived": {"1700000000000001"}, "Offhook-Deadline": {"1700000002500001"}, "Offhook-Reply-To": {"_INBOX.x.1"},
		"Offhook-Late": {"true"}, "Offhook-Sequence": {"7"}, "traceparent": {"00-1-2-01"}, "tracestate": {"a=b"},
	}
	got := e.Header()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	for name := range got { // each may be added to without a trace in the others
		got[name] = append(got[name], "more")
		want[name] = append(want[name], "more")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("appended to (-want +got):\n%s", diff)
	}
	least := map[string][]string{"Offhook-Kind": {""}, "Offhook-Event-Id": {""}, "Offhook-Call-Id": {""}, "Offhook-Arrived": {"0"}}
	if diff := cmp.Diff(least, messages.Envelope{Arrived: time.UnixMicro(0)}.Header()); diff != "" {
		t.Errorf("of nothing (-want +got):\n%s", diff)
	}
}

func TestParseEnvelopeRefuses(t *testing.T) {
	t.Parallel()
	whole := messages.Envelope{Kind: messages.KindEvent, EventID: "E1", CallID: "C1", Arrived: time.UnixMicro(1), Deadline: time.UnixMicro(2)}
	for header, value := range map[string]string{
		"Offhook-Kind": "rumour", "Offhook-Event-Id": "", "Offhook-Call-Id": "%zz", "Offhook-Event": "%zz",
		"Offhook-Arrived": "yesterday", "Offhook-Deadline": "soon", "Offhook-Sequence": "-1",
	} {
		h := whole.Header()
		h[header] = []string{value}
		if _, err := messages.ParseEnvelope(h, nil); err == nil || !strings.Contains(err.Error(), header) {
			t.Errorf("%s: %q: got error %v, want one that names the header", header, value, err)
		}
	}
	if _, err := messages.ParseEnvelope(nil, nil); err == nil {
		t.Error("a message without headers is no envelope")
	}
}

// Headers come from whoever can publish to our subjects.
func FuzzParseEnvelope(f *testing.F) {
	f.Add("event", "E1", "C1", "speak_completed", "1", "2", "true", "", "", "", []byte("{}"))
	f.Add("event", "E1", "C1", "speak_completed", "1", "", "", "18446744073709551615", "00-1-2-01", "a=b", []byte("{}"))
	f.Add("told", "", "%", "%25", "-9223372036854775808", "9223372036854775807", "", "0", "", " ", []byte(nil))
	f.Fuzz(func(t *testing.T, kind, id, call, event, arrived, deadline, late, sequence, trace, state string, body []byte) {
		e, err := messages.ParseEnvelope(map[string][]string{
			"Offhook-Kind": {kind}, "Offhook-Event-Id": {id}, "Offhook-Call-Id": {call}, "Offhook-Event": {event},
			"Offhook-Arrived": {arrived}, "Offhook-Deadline": {deadline}, "Offhook-Late": {late},
			"Offhook-Sequence": {sequence}, "traceparent": {trace}, "tracestate": {state},
		}, body)
		if err != nil {
			return
		}
		again, err := messages.ParseEnvelope(e.Header(), e.Body)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if diff := cmp.Diff(e, again); diff != "" {
			t.Errorf("-first +second:\n%s", diff)
		}
	})
}

func TestReplySurvivesItsHeaders(t *testing.T) {
	t.Parallel()
	for _, r := range []messages.Reply{
		{Verdict: messages.VerdictDecided, Flow: "survey", Step: "rating", Action: []byte(`{"method":"hangup","params":{}}`)},
		{Verdict: messages.VerdictHold, Flow: "f\r\n%é", Step: "a b", Reason: "the store\r\nis away"},
	} {
		for k, values := range r.Header() {
			if strings.ContainsAny(k+strings.Join(values, ""), "\r\n") {
				t.Errorf("header %q: %q would break the message", k, values)
			}
		}
		if diff := cmp.Diff(r, messages.ParseReply(r.Header(), r.Action)); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	}
}

// A reply that cannot be understood must not leave the caller in silence.
func TestAReplyThatSaysNothingHolds(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]messages.Reply{
		"no headers":       messages.ParseReply(nil, []byte("{}")),
		"a later verdict":  messages.ParseReply(map[string][]string{"Offhook-Verdict": {"sing"}}, []byte("{}")),
		"decided, nothing": messages.ParseReply(messages.Reply{Verdict: messages.VerdictDecided}.Header(), nil),
	} {
		if r.Verdict != messages.VerdictHold || r.Action != nil {
			t.Errorf("%s: got %+v, want a hold", name, r)
		}
	}
}

// Flow and step are escaped as net/url does it, and come back as they went.
func FuzzParseReply(f *testing.F) {
	f.Add("decided", "survey", "question-1_A", "", []byte("{}"))
	f.Add("hold", "%zz", "a%2Fb+c", "the store\r\nis away é\xff", []byte(nil))
	f.Fuzz(func(t *testing.T, verdict, flow, step, reason string, body []byte) {
		r := messages.ParseReply(map[string][]string{
			"Offhook-Verdict": {verdict}, "Offhook-Flow": {flow}, "Offhook-Step": {step}, "Offhook-Reason": {url.PathEscape(reason)},
		}, body)
		if r.Reason != reason {
			t.Errorf("reason %q: got %q", reason, r.Reason)
		}
		if want, err := url.PathUnescape(flow); err == nil && r.Flow != want || err != nil && r.Flow != "" {
			t.Errorf("flow %q: got %q, want %q", flow, r.Flow, want)
		}
		h := r.Header()
		if got := h["Offhook-Step"]; r.Step != "" && (len(got) != 1 || got[0] != url.PathEscape(r.Step)) {
			t.Errorf("step %q: got header %q", r.Step, got)
		}
		if diff := cmp.Diff(r, messages.ParseReply(h, r.Action)); diff != "" {
			t.Errorf("-first +second:\n%s", diff)
		}
	})
}

func TestToldSurvives(t *testing.T) {
	t.Parallel()
	for _, answer := range []messages.ToldAnswer{messages.ToldHold, messages.ToldApology, messages.ToldHangup, messages.ToldNothing, messages.ToldUnknown} {
		want := messages.Told{EventID: "E1", Answer: answer, Reason: "no reply"}
		body, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := messages.ParseTold(body); err != nil || got != want {
			t.Errorf("got %+v, %v", got, err)
		}
	}
	for _, bad := range []string{``, `[]`, `{}`, `{"event_id":5}`} {
		if _, err := messages.ParseTold([]byte(bad)); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
}

func TestFailureSurvivesItsHeaders(t *testing.T) {
	t.Parallel()
	want := messages.Failure{
		Kind: messages.FailureEvent, Reason: messages.ReasonPanic, Error: "panic: x\ngoroutine 1\n\tmain.go:1 é", Worker: "w/1",
		Attempts: 3, FailedAt: time.UnixMicro(1_700_000_000_000_000).UTC(), Subject: "offhook.events.01", Sequence: 1<<64 - 1,
		Header: map[string][]string{"Offhook-Event-Id": {"E1"}}, Body: []byte{0, 0xff},
	}
	header := want.FailureHeader()
	for k, v := range header {
		if strings.ContainsAny(k+strings.Join(v, ""), "\r\n") {
			t.Errorf("header %s: %q would break the message", k, v)
		}
	}
	if diff := cmp.Diff(want, messages.ParseFailure(header, want.Body)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	want.Header = map[string][]string{"Nats-Rollup": {"all"}, "Offhook-Failure-Kind": {"forged"}}
	header = want.FailureHeader()
	if header["Nats-Rollup"] != nil || header["Offhook-Failure-Kind"][0] != "event" {
		t.Errorf("headers that NATS or we act on must not be carried over: %v", header)
	}
	want.Error = strings.Repeat("é", 1<<20)
	if n := len(want.FailureHeader()["Offhook-Failure-Error"][0]); n > 64<<10 {
		t.Errorf("an error chain takes %d B of headers", n)
	}
	_ = messages.ParseFailure(map[string][]string{"Offhook-Failure-Error": {"%zz"}, "Offhook-Failure-At": {"x"}}, nil) // always showable
}

func TestErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route to host")
	err := fmt.Errorf("place the call: %w", messages.FieldErrorf(messages.CodeUnavailable, "to", "not now: %w", cause))
	if messages.CodeOf(err) != messages.CodeUnavailable || !errors.Is(err, cause) {
		t.Errorf("got code %s", messages.CodeOf(err))
	}
	if messages.CodeOf(cause) != messages.CodeInternal {
		t.Error("an error without a code is internal")
	}
	if body := messages.BodyOf(cause); strings.Contains(body.Error.Message, "route") {
		t.Errorf("strangers see %q", body.Error.Message)
	}
	// Statuses and exit codes are a promise.
	for code, want := range map[messages.Code]string{
		messages.CodeInternal: "500 70", messages.CodeInvalid: "400 1", messages.CodeUsage: "400 2", messages.CodeUnauthorized: "401 1",
		messages.CodeNotFound: "404 4", messages.CodeMethod: "405 1", messages.CodeTooLarge: "413 1", messages.CodeConflict: "409 1",
		messages.CodeUnavailable: "503 3", messages.CodeTimeout: "504 3", messages.CodeRefused: "422 5", "no such code": "500 70",
	} {
		if got := fmt.Sprint(code.HTTPStatus(), " ", code.ExitCode()); got != want {
			t.Errorf("%s: got %s, want %s", code, got, want)
		}
	}
}

func TestNumbersAreMasked(t *testing.T) {
	t.Parallel()
	for number, want := range map[messages.Number]string{"15558675309": "****09", "1234": "****", "": "****"} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("dialled", "to", number)
		if got := fmt.Sprintf("%s %v", number, number); got != want+" "+want || !strings.Contains(log.String(), "to="+want+"\n") {
			t.Errorf("got %s, logged %s", got, log.String())
		}
	}
}

func TestIntentIDs(t *testing.T) {
	t.Parallel()
	a, b := messages.IntentID("order 1"), messages.IntentID("order 2")
	if a == b || a != messages.IntentID("order 1") {
		t.Error("one id for each key")
	}
	if !messages.ValidToken(a) || strings.Contains(messages.IntentID("15558675309"), "8675309") {
		t.Errorf("got %s", a)
	}
	if first, second := messages.NewEventID(), messages.NewEventID(); first == second {
		t.Error("event ids must differ")
	}
}
