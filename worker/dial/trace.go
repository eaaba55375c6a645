package dial

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// begin is the span of one POST, a child of ctx's; nil without a tracer. It says
// what was asked and what was answered, and neither number nor key. Its context is
// not sent along: TeleSign documents no traceparent, and what we call our traces is
// nobody else's business.
func (c *Client) begin(ctx context.Context) (context.Context, trace.Span) {
	if c.tracer == nil {
		return ctx, nil
	}
	return c.tracer.Start(ctx, "POST "+endpointPath, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("http.request.method", "POST"),
		attribute.String("server.address", c.endpoint.Hostname()),
		attribute.String("url.path", c.endpoint.EscapedPath()),
	))
}

// finish ends the span with what became of the dial.
func finish(span trace.Span, o Outcome) {
	if span == nil {
		return
	}
	span.SetAttributes(attribute.String("offhook.outcome", string(o.Kind)))
	if o.HTTPStatus != 0 {
		span.SetAttributes(attribute.Int("http.response.status_code", o.HTTPStatus))
	}
	if o.Kind != Accepted {
		span.SetStatus(codes.Error, string(o.Kind))
	}
	span.End()
}
