package telemetry_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/cmd/internal/telemetry"
	"github.com/offhook/offhook/cmd/internal/telemetry/otlptest"
	"github.com/offhook/offhook/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestOffByDefault(t *testing.T) {
	t.Parallel()
	for _, environ := range [][]string{
		nil,
		{"OTEL_SERVICE_NAME=x", "OTEL_TRACES_SAMPLER=nonsense", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"},
		{"OTEL_TRACES_EXPORTER=none", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1"},
		{"OTEL_TRACES_EXPORTER=otlp", "OTEL_SDK_DISABLED=true"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT="},
		{"OFFHOOK_OTEL_TRACES_EXPORTER=otlp"},
	} {
		log := &logtest.Log{}
		tracing, err := telemetry.Open(t.Context(), "offhook-test", "v1", environ, log.Logger())
		if err != nil || tracing != nil || tracing.Tracer() != nil || log.String() != "" {
			t.Errorf("%q: got %v, %v\n%s", environ, tracing, err, log)
		}
		tracing.Close()
	}
}

func TestRefused(t *testing.T) {
	t.Parallel()
	const on = "OTEL_TRACES_EXPORTER=otlp"
	for _, tt := range []struct {
		environ []string
		want    string
	}{
		{[]string{"OTEL_TRACES_EXPORTER=console"}, `OTEL_TRACES_EXPORTER: "console" is not supported: want otlp, or none`},
		{[]string{"OTEL_TRACES_EXPORTER=otlp,console"}, `OTEL_TRACES_EXPORTER: "otlp,console" is not supported: want otlp, or none`},
		{[]string{on, "OTEL_EXPORTER_OTLP_PROTOCOL=grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL: grpc is not supported: set http/protobuf, and the collector's port for it, usually 4318"},
		{[]string{on, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL=http/json"}, `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: "http/json" is not supported: want http/protobuf`},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT: want http://host:port (or https)"},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://"}, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: want http://host:port (or https)"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://ann:hunter2@c:1"}, "OTEL_EXPORTER_OTLP_ENDPOINT: carries credentials, which would not be sent: put them into OTEL_EXPORTER_OTLP_HEADERS"},
		{[]string{on, "OTEL_EXPORTER_OTLP_HEADERS=a=b, hunter2"}, "OTEL_EXPORTER_OTLP_HEADERS: pair 2 cannot be read: want name=value,… with special characters percent-encoded"},
		{[]string{on, "OTEL_RESOURCE_ATTRIBUTES=a=%zz"}, "OTEL_RESOURCE_ATTRIBUTES: pair 1 cannot be read: want name=value,… with special characters percent-encoded"},
		{[]string{on, "OTEL_TRACES_SAMPLER=jaeger_remote"}, `OTEL_TRACES_SAMPLER: "jaeger_remote" is not supported: want always_on, always_off, traceidratio, or one of these with parentbased_ before it`},
		{[]string{on, "OTEL_TRACES_SAMPLER=traceidratio", "OTEL_TRACES_SAMPLER_ARG=1.5"}, `OTEL_TRACES_SAMPLER_ARG: "1.5": want a ratio from 0 to 1`},
		{[]string{on, "OTEL_TRACES_SAMPLER=parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG=NaN"}, `OTEL_TRACES_SAMPLER_ARG: "NaN": want a ratio from 0 to 1`},
	} {
		tracing, err := telemetry.Open(t.Context(), "offhook-test", "v1", tt.environ, (&logtest.Log{}).Logger())
		if tracing != nil || messages.CodeOf(err) != messages.CodeUsage || err.Error() != tt.want {
			t.Errorf("%q: got %v\nwant %s", tt.environ, err, tt.want)
		}
	}
}

// open starts tracing and makes one span, which a second one is a child of.
func spans(t *testing.T, environ ...string) (traceID string) {
	t.Helper()
	tracing, err := telemetry.Open(t.Context(), "offhook-test", "v1.2.3", environ, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	ctx, parent := tracing.Tracer().Start(t.Context(), "parent")
	_, child := tracing.Tracer().Start(ctx, "child")
	child.End()
	parent.End()
	tracing.Close()
	tracing.Close()
	return parent.SpanContext().TraceID().String()
}

func TestExport(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		environ       []string // the collector's URL stands for URL
		path, service string
	}{
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=URL"}, "/v1/traces", "offhook-test"},
		{[]string{"OTEL_EXPORTER_OTLP_ENDPOINT=URL/otlp/", "OTEL_SERVICE_NAME=mine", "OTEL_RESOURCE_ATTRIBUTES=service.name=other"}, "/otlp/v1/traces", "mine"},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=URL/here", "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_TRACES_EXPORTER=otlp"}, "/here", "offhook-test"},
		{[]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=URL", "OTEL_RESOURCE_ATTRIBUTES=service.name=ours"}, "/", "ours"},
	} {
		c := otlptest.Start(t)
		environ := []string{"OTEL_EXPORTER_OTLP_HEADERS=Authorization=Basic%20abc, x-team = a", "OTEL_EXPORTER_OTLP_PROTOCOL=http/protobuf"}
		for _, line := range tt.environ {
			environ = append(environ, strings.Replace(line, "URL", c.URL, 1))
		}
		traceID := spans(t, environ...)
		got := c.Spans()
		if len(got) != 2 {
			t.Fatalf("%q: received %+v", environ, got)
		}
		child, parent := got[0], got[1]
		if child.Parent != parent.ID || parent.Parent != "" || child.Trace != traceID || parent.Trace != traceID || parent.Name != "parent" {
			t.Errorf("received %+v", got)
		}
		if r := child.Resource; r["service.name"] != tt.service || r["service.version"] != "v1.2.3" || r["host.name"] == "" {
			t.Errorf("%q: the process is %v, want %s", environ, r, tt.service)
		}
		paths, headers := c.Requests()
		if paths[0] != tt.path || headers[0].Get("Authorization") != "Basic abc" || headers[0].Get("X-Team") != "a" {
			t.Errorf("%q: posted to %s with %v, want %s", environ, paths[0], headers[0], tt.path)
		}
	}
}

func TestSamplers(t *testing.T) {
	t.Parallel()
	for environ, want := range map[string]int{
		"OTEL_TRACES_SAMPLER=always_on": 2, "OTEL_TRACES_SAMPLER=always_off": 0, "OTEL_TRACES_SAMPLER=parentbased_always_off": 0,
		"OTEL_TRACES_SAMPLER=parentbased_always_on": 2, "OTEL_TRACES_SAMPLER=traceidratio": 2, "OTEL_TRACES_SAMPLER=parentbased_traceidratio": 2,
		"OTEL_TRACES_SAMPLER=traceidratio OTEL_TRACES_SAMPLER_ARG=0": 0,
	} {
		c := otlptest.Start(t)
		spans(t, append(strings.Fields(environ), "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL)...)
		if got := len(c.Spans()); got != want {
			t.Errorf("%s: %d spans, want %d", environ, got, want)
		}
	}
}

// A collector that refuses, is away or hangs costs spans, a line in the log and at
// most five seconds at the end.
func TestCollectorAway(t *testing.T) {
	t.Parallel()
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, strings.Repeat("no ", 1000), http.StatusForbidden)
	}))
	t.Cleanup(refusing.Close)
	hanging := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // until then the server does not look for the client
		<-r.Context().Done()               // until it has gone
	}))
	t.Cleanup(hanging.Close)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	for name, url := range map[string]string{"refusing": refusing.URL, "away": "http://" + ln.Addr().String(), "hanging": hanging.URL} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := &logtest.Log{}
			tracing, err := telemetry.Open(context.Background(), "offhook-test", "", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + url}, log.Logger())
			if err != nil {
				t.Fatal(err)
			}
			for range 3 {
				_, span := tracing.Tracer().Start(context.Background(), "lost")
				span.End()
			}
			tracing.Close()
			log.Await(t, `level=WARN msg="traces not exported; calls are not affected" spans_lost=3 error=`)
			if text := log.String(); strings.Count(text, "level=WARN msg=\"traces not") != 1 || len(text) > 1500 {
				t.Errorf("logged:\n%s", text)
			}
		})
	}
}

// Whoever reads the log learns once a minute how much is missing.
func TestFailuresAreThrottled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &logtest.Log{}
		export, pass := telemetry.NewFailing(t.Context(), log.Logger())
		for range 30 {
			export(10)
			pass()
		}
		if text := log.String(); strings.Count(text, "\n") != 3 || !strings.Contains(text, "spans_lost=10 ") || strings.Count(text, "spans_lost=120 ") != 2 {
			t.Errorf("logged:\n%s", text)
		}
	})
}
