package worker_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/dial"
)

// tracer is one whose spans a test can look at.
func tracer() (trace.Tracer, *tracetest.SpanRecorder) {
	spans := tracetest.NewSpanRecorder()
	return sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans)).Tracer("test"), spans
}

// Where the traces of these tests come from.
const (
	traceID    = "0af7651916cd43dd8448eb211c80319c"
	parentID   = "b7ad6b7169203331"
	parentSpan = "00-" + traceID + "-" + parentID + "-01"
)

// said is what a span says, and fails the test if it gives a caller away.
func said(t *testing.T, s sdktrace.ReadOnlySpan) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, a := range s.Attributes() {
		all[strings.TrimPrefix(string(a.Key), "offhook.")] = a.Value.String()
	}
	text := fmt.Sprint(s.Name(), all, s.Status(), s.Events())
	for _, secret := range []string{personNumber, ourNumber, "Ann", "dGVzdA"} {
		if strings.Contains(text, secret) {
			t.Errorf("span %s shows %q: %s", s.Name(), secret, text)
		}
	}
	return all
}

// wantBelow wants a span of our trace below the given one.
func wantBelow(t *testing.T, s sdktrace.ReadOnlySpan, name, parent string) {
	t.Helper()
	if s.Name() != name || s.SpanContext().TraceID().String() != traceID || s.Parent().SpanID().String() != parent || s.SpanContext().TraceState().String() != "vendor=1" {
		t.Errorf("span %q of trace %s below %s (%s), want %q of %s below %s", s.Name(), s.SpanContext().TraceID(), s.Parent().SpanID(),
			s.SpanContext().TraceState(), name, traceID, parent)
	}
}

// The trace that ingress began goes on in every delivery of the event, at once or from
// the late lane, and says what was decided.
func TestDeliveriesAreTraced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	tr, spans := tracer()
	p.events.UseTracer(tr)
	c := w.place()
	traced := func(words string) bus.Delivery {
		d := w.delivery(c.envelope(words))
		d.Trace, d.State = parentSpan, "vendor=1"
		return d
	}
	first := traced("dial_completed answered")
	p.handle(first)
	misfit := traced("recording_started")
	p.handle(misfit)
	unreadable := traced("speak_completed 1")
	unreadable.Body = []byte("15558675309")
	p.handle(unreadable)
	unnamed := traced("speak_completed 1")
	unnamed.Event = "something new"
	noError(t, p.bus.Defer(within(t), unnamed))
	p.handle(traced("speak_completed"))
	p.consume()
	eventually(t, "the late lane is drained", func() bool { return len(spans.Ended()) == 6 })

	want := []struct {
		name   string
		status string
		says   map[string]string
	}{
		{"step dial_completed", "", map[string]string{"event_id": first.EventID, "call_id": c.id, "flow": "survey", "step": "hello", "decision": "begun", "delivery": "1", "deferred": "false"}},
		{"step other", "", map[string]string{"decision": "held", "hold": "does not fit what the caller was told"}},
		{"step speak_completed", "unreadable", nil},
		{"step speak_completed", "late lane", map[string]string{"deferred": "false"}},
		{"step other", "", map[string]string{"event": "other", "event_id": unnamed.EventID, "deferred": "true"}},
		{"step speak_completed", "", map[string]string{"deferred": "true"}},
	}
	for i, s := range spans.Ended() {
		wantBelow(t, s, want[i].name, parentID)
		if s.SpanKind() != trace.SpanKindConsumer || s.Status().Description != want[i].status {
			t.Errorf("span %d: %s, status %q, want %q", i, s.SpanKind(), s.Status().Description, want[i].status)
		}
		says := said(t, s)
		for key, value := range want[i].says {
			if says[key] != value {
				t.Errorf("span %d: %s is %q, want %q", i, key, says[key], value)
			}
		}
	}
}

// The trace of whoever placed a call goes on in its dial and in the POST.
func TestDialsAreTraced(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := startTeleSign(t, acceptedAnswer)
	tr, spans := tracer()
	client, err := dial.New(dial.Config{
		URL: s.url, Tracer: tr,
		Credentials: telesign.Credentials{CustomerID: "FFFFFFFF-EEEE-DDDD-1234-AB1234567890", APIKey: "dGVzdA=="},
	}, discard)
	noError(t, err)
	p := w.start(plan{})
	d := worker.NewDialer(p.store, p.bus, client, dialTimeout, longestCall, p.metrics, discard)
	d.UseTracer(tr)
	c := w.place()
	job := messages.DialJob{Intent: w.intent(c.external), Trace: parentSpan, State: "vendor=1"}
	body, err := json.Marshal(job)
	noError(t, err)
	var stored messages.DialJob // as it comes out of the queue
	noError(t, json.Unmarshal(body, &stored))
	result := d.Handle(within(t), stored, 1)
	result.After(within(t))

	ended := spans.Ended()
	if len(ended) != 3 {
		t.Fatalf("%d spans", len(ended))
	}
	begin, post, whole := ended[0], ended[1], ended[2]
	wantBelow(t, begin, "begin try", parentID)
	wantBelow(t, whole, "dial", parentID)
	wantBelow(t, post, "POST /v2/voice", whole.SpanContext().SpanID().String())
	if says := said(t, whole); says["intent_id"] != c.external || says["outcome"] != "accepted" || says["flow"] != "survey" {
		t.Errorf("the dial says %v", says)
	}
	said(t, begin)
	said(t, post)
}

// Without a tracer nothing is made: not a span, not a byte.
func TestNoTracerCostsNothing(t *testing.T) {
	ctx := context.Background()
	d := bus.Delivery{Envelope: messages.Envelope{Trace: parentSpan, State: "vendor=1"}}
	if n := testing.AllocsPerRun(100, func() { worker.TraceNothing(ctx, d) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
