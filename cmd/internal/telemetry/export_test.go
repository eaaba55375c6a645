package telemetry

import (
	"context"
	"errors"
	"log/slog"
	"time"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
)

type failing struct{}

func (failing) ExportSpans(context.Context, []sdktrace.ReadOnlySpan) error { return errors.New("no") }

func (failing) Shutdown(context.Context) error { return nil }

// NewFailing is an exporter that cannot export, and five seconds.
func NewFailing(ctx context.Context, log *slog.Logger) (export func(spans int), pass func()) {
	e := &patientExporter{SpanExporter: failing{}, running: ctx, log: log}
	return func(spans int) {
			if err := e.ExportSpans(ctx, make([]sdktrace.ReadOnlySpan, spans)); err != nil {
				panic(err)
			}
		}, func() {
			<-time.After(5 * time.Second)
		}
}
