package api

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/propagation"
)

// traceOf is the W3C trace context that a request carries, written anew: empty when it
// has none, or one that is not well-formed. It is no reason to refuse a request.
func traceOf(ctx context.Context, header http.Header) (traceparent, tracestate string) {
	w3c := propagation.TraceContext{}
	ctx = w3c.Extract(ctx, propagation.HeaderCarrier(header))
	carrier := propagation.MapCarrier{}
	w3c.Inject(ctx, carrier)
	return carrier["traceparent"], carrier["tracestate"]
}
