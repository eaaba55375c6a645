package webhook

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
)

const (
	testTrace  = "0af7651916cd43dd8448eb211c80319c"
	testParent = "00-" + testTrace + "-b7ad6b7169203331-01"
	testState  = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
)

// TestTraceContext: without a tracer the request's own context travels on.
func TestTraceContext(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parent    string
		states    []string
		trace     string
		wantState string
	}{
		"none":                 {"", nil, "", ""},
		"both":                 {testParent, []string{testState}, testParent, testState},
		"two headers of state": {testParent, strings.Split(testState, ","), testParent, testState},
		"state alone":          {"", []string{testState}, "", ""},
		"state, bad parent":    {"00-1-2-3", []string{testState}, "", ""},
		"long state":           {testParent, []string{"a=" + strings.Repeat("x", maxState)}, testParent, ""},
		"odd state":            {testParent, []string{"a=\x01"}, testParent, ""},
	} {
		d := newDoor(t, Config{}, &fakeBus{script: script{reply: holds}})
		r := signed(t, incoming)
		if c.parent != "" {
			r.Header.Set("Traceparent", c.parent)
		}
		r.Header["Tracestate"] = c.states
		d.post(r)
		for _, env := range []messages.Envelope{d.bus.asked[0], d.bus.told[0]} {
			if env.Trace != c.trace || env.State != c.wantState {
				t.Errorf("%s: %s has %q, %q; want %q, %q", name, env.Kind, env.Trace, env.State, c.trace, c.wantState)
			}
		}
	}
}

// TestSpan: with a tracer each event is a span below the request's, and above what
// the worker will make. It shows no number.
func TestSpan(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		parent string
		bus    *fakeBus
		broken bool
		attrs  map[string]string
		status codes.Code
	}{
		"decided": {
			parent: testParent, bus: &fakeBus{script: script{reply: decided}},
			attrs: map[string]string{"offhook.outcome": "decided", "offhook.step": "hello", "http.response.status_code": "200"},
		},
		"held": {
			parent: testParent, bus: &fakeBus{script: script{reply: holds}},
			attrs: map[string]string{"offhook.outcome": "held", "offhook.event": "incoming_call"},
		},
		"spooled": {
			parent: testParent, bus: &fakeBus{script: script{stored: errFull, replyAt: never}, spool: &fakeSpool{}},
			attrs: map[string]string{"offhook.outcome": "spooled", "offhook.call_id": "534e1848-235f-482d-983d-e3e11a04f58a"},
		},
		"refused": {
			parent: testParent, bus: &fakeBus{script: script{stored: errFull, replyAt: never}},
			attrs: map[string]string{"offhook.outcome": "unstored", "http.response.status_code": "503"}, status: codes.Error,
		},
		"broken":     {parent: testParent, bus: &fakeBus{script: script{reply: decided}}, broken: true, status: codes.Error},
		"no parent":  {bus: &fakeBus{script: script{reply: decided}}},
		"bad parent": {parent: "00-x", bus: &fakeBus{script: script{reply: decided}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spans := tracetest.NewSpanRecorder()
			provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
			d := newDoor(t, Config{Tracer: provider.Tracer("test")}, c.bus)
			r := signed(t, incoming)
			if c.parent != "" {
				r.Header.Set("Traceparent", c.parent)
				r.Header.Set("Tracestate", testState)
			}
			if c.broken {
				d.serve(context.Background(), brokenWriter{discard{map[string][]string{}}, func() {}}, r)
			} else {
				d.serve(context.Background(), httptest.NewRecorder(), r)
			}
			d.reports.close()
			ended := spans.Ended()
			if len(ended) != 1 {
				t.Fatalf("%d spans", len(ended))
			}
			s := ended[0]
			if s.Name() != "webhook incoming_call" || s.SpanKind() != trace.SpanKindServer || s.Status().Code != c.status {
				t.Errorf("span %s, kind %v, status %v", s.Name(), s.SpanKind(), s.Status())
			}
			hasParent := c.parent == testParent
			if hasParent != (s.Parent().TraceID().String() == testTrace && s.SpanContext().TraceID() == s.Parent().TraceID()) {
				t.Errorf("parent %v of %v", s.Parent(), s.SpanContext())
			}
			want := "00-" + s.SpanContext().TraceID().String() + "-" + s.SpanContext().SpanID().String() + "-01"
			for _, env := range append(c.bus.asked, c.bus.told...) {
				if env.Trace != want || (env.State == testState) != hasParent {
					t.Errorf("%s has %q, %q; want %q", env.Kind, env.Trace, env.State, want)
				}
			}
			has := map[attribute.Key]string{}
			for _, a := range s.Attributes() {
				has[a.Key] = a.Value.String()
				if strings.Contains(a.Value.String(), "15558675309") || strings.Contains(a.Value.String(), "15555551212") {
					t.Errorf("%s shows a number: %s", a.Key, a.Value.String())
				}
			}
			if has["offhook.event_id"] != c.bus.asked[0].EventID {
				t.Errorf("attributes %v", has)
			}
			for key, value := range c.attrs {
				if has[attribute.Key(key)] != value {
					t.Errorf("%s is %q, want %q", key, has[attribute.Key(key)], value)
				}
			}
		})
	}
}
