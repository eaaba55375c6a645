package webhook

import (
	"context"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// traceLength is the length of a version 00 traceparent: 2 + 32 + 16 + 2 hex
// digits and three dashes.
const traceLength = 55

// traceparent is the request's W3C trace context, or empty when it sent none that
// is well-formed: one header, version 00 or a later one read as 00, lower-case hex,
// neither id all zero. A stranger's header is not a reason to refuse an event.
func traceparent(header map[string][]string) string {
	values := header["Traceparent"]
	if len(values) != 1 {
		return ""
	}
	v := values[0]
	if len(v) < traceLength || v[2] != '-' || v[35] != '-' || v[52] != '-' {
		return ""
	}
	version, traceID, parentID, flags := v[:2], v[3:35], v[36:52], v[53:traceLength]
	for _, field := range []string{version, traceID, parentID, flags} {
		if strings.Trim(field, "0123456789abcdef") != "" {
			return ""
		}
	}
	if version == "ff" || strings.Trim(traceID, "0") == "" || strings.Trim(parentID, "0") == "" {
		return ""
	}
	if version == "00" {
		if len(v) != traceLength {
			return ""
		}
		return v
	}
	if len(v) > traceLength && v[traceLength] != '-' {
		return ""
	}
	return "00" + v[2:traceLength]
}

// maxState is the longest tracestate that is carried on; W3C asks for this much.
const maxState = 512

// traceContext is the request's W3C trace context, both empty when it has none.
func traceContext(header map[string][]string) (parent, state string) {
	if parent = traceparent(header); parent == "" {
		return "", ""
	}
	state = strings.Join(header["Tracestate"], ",")
	if len(state) > maxState || strings.ContainsFunc(state, func(r rune) bool { return r < ' ' || r > '~' }) {
		state = ""
	}
	return parent, state
}

// span is an event's part of a trace; the zero value is none.
type span struct{ trace.Span }

// span begins the span of an event that arrived at began and puts its context into
// env, so that what a worker does is part of it. Without a tracer env keeps the
// request's own.
func (s *Server) span(work context.Context, env *messages.Envelope, event telesign.Event, began time.Time) span {
	if s.cfg.Tracer == nil {
		return span{}
	}
	carrier := propagation.MapCarrier{"traceparent": env.Trace, "tracestate": env.State}
	var w3c propagation.TraceContext
	ctx, started := s.cfg.Tracer.Start(w3c.Extract(work, carrier), "webhook "+eventLabel(event.Name),
		trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(began),
		trace.WithAttributes(
			attribute.String("offhook.event", clip(env.Event)),
			attribute.String("offhook.event_id", env.EventID),
			attribute.String("offhook.call_id", clip(env.CallID)),
		))
	if started.SpanContext().IsValid() {
		carrier = propagation.MapCarrier{}
		w3c.Inject(ctx, carrier)
		env.Trace, env.State = carrier["traceparent"], carrier["tracestate"]
	}
	return span{started}
}

// end ends the span with how the event was answered and whether that left.
func (s span) end(a answer, broken error) {
	if s.Span == nil {
		return
	}
	s.SetAttributes(
		attribute.String("offhook.outcome", string(a.outcome)),
		attribute.String("offhook.flow", a.flow),
		attribute.String("offhook.step", a.step),
		attribute.Int("http.response.status_code", a.status()),
	)
	switch {
	case broken != nil:
		s.SetStatus(codes.Error, "the answer did not leave")
	case a.body == nil:
		s.SetStatus(codes.Error, "not stored")
	}
	s.End()
}
