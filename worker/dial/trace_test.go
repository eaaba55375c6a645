package dial_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/worker/dial"
)

// Every POST is a span below that of whoever dials. It says what was answered, and
// neither number nor key; and TeleSign is not told of it.
func TestPostIsTraced(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status int // 0: nobody is there
		body   string
		kind   dial.Kind
		failed codes.Code
	}{
		{http.StatusAccepted, accepted, dial.Accepted, codes.Unset},
		{http.StatusTooManyRequests, "", dial.RateLimited, codes.Error},
		{http.StatusInternalServerError, "", dial.Ambiguous, codes.Error},
		{0, "", dial.NotSent, codes.Error},
	}
	for _, tt := range tests {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for _, name := range []string{"traceparent", "tracestate", "baggage"} {
				if v := r.Header.Get(name); v != "" {
					t.Errorf("TeleSign is told %s: %s", name, v)
				}
			}
			w.WriteHeader(tt.status)
			_, _ = w.Write([]byte(tt.body))
		}))
		url := server.URL
		if tt.status == 0 {
			server.Close()
		}
		spans := tracetest.NewSpanRecorder()
		provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
		tracer := provider.Tracer("test")
		ctx, parent := tracer.Start(context.Background(), "dial")
		got := client(t, url, func(c *dial.Config) { c.Tracer = tracer }).Dial(ctx, call)
		server.Close()

		ended := spans.Ended()
		if len(ended) != 1 {
			t.Fatalf("%d spans", len(ended))
		}
		s := ended[0]
		if s.Name() != "POST /v2/voice" || s.SpanKind() != trace.SpanKindClient || s.Parent().SpanID() != parent.SpanContext().SpanID() {
			t.Errorf("%s span %q below %s", s.SpanKind(), s.Name(), s.Parent().SpanID())
		}
		said := map[string]string{}
		for _, a := range s.Attributes() {
			said[string(a.Key)] = a.Value.String()
		}
		status := fmt.Sprint(tt.status)
		if tt.status == 0 {
			status = ""
		}
		if got.Kind != tt.kind || said["offhook.outcome"] != string(tt.kind) || said["http.response.status_code"] != status {
			t.Errorf("%d is %s, want %s; the span says %v", tt.status, got.Kind, tt.kind, said)
		}
		if s.Status().Code != tt.failed {
			t.Errorf("%s: status %v, want %v", got.Kind, s.Status(), tt.failed)
		}
		text := fmt.Sprintf("%v %v %v", said, s.Status(), s.Events())
		for _, secret := range []string{call.To, call.CallerIDNumber, account.APIKey, account.CustomerID, "Basic"} {
			if strings.Contains(text, secret) {
				t.Errorf("the span shows %q: %s", secret, text)
			}
		}
	}
}
