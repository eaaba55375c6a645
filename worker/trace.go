package worker

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
)

// The attributes of a worker's spans. None carries a number, what was pressed or
// what an error says of either.
const (
	attrEvent    = attribute.Key("offhook.event")
	attrEventID  = attribute.Key("offhook.event_id")
	attrCallID   = attribute.Key("offhook.call_id")
	attrDelivery = attribute.Key("offhook.delivery")
	attrDeferred = attribute.Key("offhook.deferred")
	attrFlow     = attribute.Key("offhook.flow")
	attrStep     = attribute.Key("offhook.step")
	attrDecision = attribute.Key("offhook.decision")
	attrHold     = attribute.Key("offhook.hold")
	attrIntentID = attribute.Key("offhook.intent_id")
	attrOutcome  = attribute.Key("offhook.outcome")
)

// tracing makes spans, or, with a nil tracer, nothing: then it costs a comparison.
type tracing struct{ tracer trace.Tracer }

// remote is ctx with the span that a message came from, if it names one.
func remote(ctx context.Context, traceparent, tracestate string) context.Context {
	if traceparent == "" {
		return ctx
	}
	carrier := propagation.MapCarrier{"traceparent": traceparent, "tracestate": tracestate}
	return propagation.TraceContext{}.Extract(ctx, carrier)
}

// delivery is the span of one delivery, a child of what its envelope names.
func (t tracing) delivery(ctx context.Context, d bus.Delivery) (context.Context, span) {
	if t.tracer == nil {
		return ctx, span{}
	}
	event := eventLabel(d)
	ctx, s := t.tracer.Start(remote(ctx, d.Trace, d.State), "step "+event, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attrEvent.String(event), attrEventID.String(d.EventID), attrCallID.String(d.CallID),
		attrDelivery.Int(d.Attempt), attrDeferred.Bool(d.Deferred),
	))
	return ctx, span{s}
}

// job is the span of one part of a dial job, a child of the request that asked for
// the call.
func (t tracing) job(ctx context.Context, name string, job messages.DialJob) (context.Context, span) {
	if t.tracer == nil {
		return ctx, span{}
	}
	ctx, s := t.tracer.Start(remote(ctx, job.Trace, job.State), name, trace.WithSpanKind(trace.SpanKindConsumer), trace.WithAttributes(
		attrIntentID.String(job.Intent.ID), attrFlow.String(job.Intent.Flow),
	))
	return ctx, span{s}
}

// span is a span that may be missing.
type span struct{ of trace.Span }

// decided notes what a step came to.
func (s span) decided(got stepped) {
	if s.of == nil {
		return
	}
	s.of.SetAttributes(attrFlow.String(got.reply.Flow), attrStep.String(got.reply.Step), attrDecision.String(string(got.decision)))
	if got.reply.Verdict == messages.VerdictHold {
		s.of.SetAttributes(attrHold.String(got.reply.Reason))
	}
}

// outcome notes what a dial came to.
func (s span) outcome(word string) {
	if s.of != nil {
		s.of.SetAttributes(attrOutcome.String(word))
	}
}

// failed notes why there is no decision. The word is one of ours: what an error says
// may hold what was said on the line.
func (s span) failed(word string) {
	if s.of != nil {
		s.of.SetStatus(codes.Error, word)
	}
}

func (s span) end() {
	if s.of != nil {
		s.of.End()
	}
}

// eventLabel is what a delivery is about, in one of a few words.
func eventLabel(d bus.Delivery) string {
	switch {
	case d.Kind == messages.KindTold: // it carries the name of the event it is about
		return string(messages.KindTold)
	case telesign.EventName(d.Event).Known():
		return d.Event
	}
	return "other"
}
