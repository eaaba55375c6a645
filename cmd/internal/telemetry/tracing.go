package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// tracerName is the instrumentation's name in every span.
const tracerName = "github.com/offhook/offhook"

// flushWithin is how long the last spans may take to leave when a process ends.
const flushWithin = 5 * time.Second

// Tracing is a process's export of traces. A nil Tracing is one that is off: its
// methods can be called.
type Tracing struct {
	provider *sdktrace.TracerProvider
	stop     context.CancelFunc // of every export
	log      *slog.Logger
}

// Open starts what environ, in the form of os.Environ, asks for; nil when that is
// nothing. service is the name of the process unless OTEL_SERVICE_NAME is set.
// Nothing is sent yet, and whether the collector is there does not matter. Errors are
// *messages.Error of CodeUsage that name the variable. The caller must call Close.
func Open(ctx context.Context, service, version string, environ []string, log *slog.Logger) (*Tracing, error) {
	v := newVariables(environ)
	if on, err := v.on(); err != nil || !on {
		return nil, err
	}
	if err := v.checkProtocol(); err != nil {
		return nil, err
	}
	endpoint, err := v.endpoint()
	if err != nil {
		return nil, err
	}
	headers, err := v.headers()
	if err != nil {
		return nil, err
	}
	attributes, err := v.attributes(service, version)
	if err != nil {
		return nil, err
	}
	sampler, err := v.sampler()
	if err != nil {
		return nil, err
	}
	exporter, err := otlptrace.New(ctx, otlptracehttp.NewClient(otlptracehttp.WithEndpointURL(endpoint), otlptracehttp.WithHeaders(headers)))
	if err != nil {
		return nil, fmt.Errorf("export of traces: %w", err)
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithAttributes(attributes...))
	if err != nil {
		log.Warn("not all is known of this process that traces say", "error", err)
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	t := &Tracing{stop: stop, log: log}
	t.provider = sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(&patientExporter{SpanExporter: exporter, running: running, log: log}),
		sdktrace.WithResource(about), sdktrace.WithSampler(sampler),
	)
	log.Info("traces are exported", "to", endpoint, "sampler", sampler.Description())
	return t, nil
}

// Tracer makes the process's spans; nil when tracing is off.
func (t *Tracing) Tracer() trace.Tracer {
	if t == nil {
		return nil
	}
	return t.provider.Tracer(tracerName)
}

// Close sends what is left, for at most five seconds, and ends the export. It may be
// called again.
func (t *Tracing) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushWithin)
	defer cancel()
	defer t.stop()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last traces were not exported", "error", err)
	}
}

// quiet is how long a collector that is away is not mentioned again.
const quiet = time.Minute

// patientExporter logs failures, once a minute, in place of the SDK, which would
// print each to stderr.
type patientExporter struct {
	sdktrace.SpanExporter
	running context.Context //nolint:containedctx // the end of the process, which the SDK does not pass on
	log     *slog.Logger

	mu     sync.Mutex
	lost   int // spans, since the last line
	logged time.Time
}

// ExportSpans sends spans or drops them; it never fails.
func (e *patientExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(e.running, func() { cancel(context.Cause(e.running)) })() //nolint:contextcheck // the two are joined here
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.failed(ctx, len(spans), err)
	}
	return nil
}

func (e *patientExporter) failed(ctx context.Context, spans int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += spans
	if now := time.Now(); e.logged.IsZero() || now.Sub(e.logged) >= quiet {
		e.log.WarnContext(ctx, "traces not exported; calls are not affected", "spans_lost", e.lost, "error", brief(err))
		e.lost, e.logged = 0, now
	}
}

// maxBrief is how much of an error is logged, in bytes: a collector may answer with a
// page.
const maxBrief = 300

func brief(err error) string {
	text := err.Error()
	if len(text) > maxBrief {
		return text[:maxBrief] + "…"
	}
	return text
}
