package local_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/offhook/offhook/cmd/internal/local"
	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/telemetry"
	"github.com/offhook/offhook/cmd/internal/telemetry/otlptest"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/store/redistest"
	"github.com/offhook/offhook/worker/dial"
)

// request sends a request within a trace and wants that status.
func request(t *testing.T, url, traceparent, body string, header http.Header, want int) string {
	t.Helper()
	req, err := http.NewRequestWithContext(within(t), http.MethodPost, url, bytes.NewBufferString(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header = header
	req.Header.Set("Traceparent", traceparent)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != want {
		t.Errorf("got %d %s, %v", resp.StatusCode, answer, err)
	}
	return string(answer)
}

// A trace goes on from the webhook into the worker, and from the API through the
// queue to TeleSign, and carries no number.
func TestTrace(t *testing.T) {
	t.Parallel()
	const (
		eventTrace, eventParent = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
		dialTrace, dialParent   = "1bf7651916cd43dd8448eb211c80319c", "c7ad6b7169203331"
	)
	c := otlptest.Start(t)
	tracing, err := telemetry.Open(t.Context(), "offhook-dev", "v1", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=" + c.URL}, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tracing.Close)
	cfg := config(t, t.TempDir())
	cfg.Tracer = tracing.Tracer()
	p := start(t, cfg)

	const event = `{"event":"incoming_call","reference_id":"TRACED","data":{"to":"15555551212","from":"15558675309"}}`
	signature, err := telesign.SignWebhook(apiKey, []byte(event))
	if err != nil {
		t.Fatal(err)
	}
	request(t, p.WebhookURL, "00-"+eventTrace+"-"+eventParent+"-01", event, http.Header{"X-Ts-Authorization": {signature}}, http.StatusOK)
	answer := request(t, p.APIURL+"/v1/calls", "00-"+dialTrace+"-"+dialParent+"-01", `{"to":"15558675309","flow":"question","idempotency_key":"traced"}`, http.Header{}, http.StatusAccepted)
	var placed messages.PlacedCall
	if err := json.Unmarshal([]byte(answer), &placed); err != nil {
		t.Fatal(err)
	}
	p.ended(placed.ID)
	p.stop()
	tracing.Close()

	linked := func(trace, parent string, names ...string) {
		t.Helper()
		for _, name := range names { // from parent to child
			i := slices.IndexFunc(c.Spans(), func(s otlptest.Span) bool {
				return s.Trace == trace && s.Parent == parent && s.Kind+" "+s.Name == name && !s.Failed
			})
			if i < 0 {
				t.Fatalf("no %s below %s of trace %s in %+v", name, parent, trace, c.Spans())
			}
			parent = c.Spans()[i].ID
		}
	}
	linked(eventTrace, eventParent, "SERVER webhook incoming_call", "CONSUMER step incoming_call")
	linked(dialTrace, dialParent, "CONSUMER begin try")
	linked(dialTrace, dialParent, "CONSUMER dial", "CLIENT POST /v2/voice")
	for _, s := range c.Spans() {
		for key, value := range s.Attributes {
			if strings.Contains(value, "15558675309") || strings.Contains(value, "15555551212") {
				t.Errorf("a number is in %s of %s: %s", key, s.Name, value)
			}
		}
	}
}

// Live, the key that signs dials follows its file.
func TestLiveKeyRotation(t *testing.T) {
	t.Parallel()
	const customerID, rotated = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890", "c2VjcmV0c2VjcmV0"
	keys := make(chan string, 10)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, key, _ := r.BasicAuth()
		keys <- key
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, `{"reference_id":"LIVE","status":"dial_accepted"}`)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "api-key")
	save := func(content string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	save(apiKey)
	cfg := config(t, t.TempDir())
	cfg.Account = role.Account{CustomerID: customerID, Keys: []string{apiKey}, KeyFile: file}
	cfg.Live = &local.Live{
		Dial:  dial.Config{URL: server.URL, Credentials: telesign.Credentials{CustomerID: customerID, APIKey: apiKey}},
		Redis: store.Config{URL: redistest.Start(t).URL()},
	}
	p := start(t, cfg)
	next := func() string {
		t.Helper()
		select {
		case key := <-keys:
			return key
		case <-within(t).Done():
			t.Fatal("nothing was dialled")
			return ""
		}
	}
	p.place("15558675309")
	if got := next(); got != apiKey {
		t.Errorf("dialled with %q", got)
	}
	save(rotated + "\n" + apiKey)
	p.log.Await(t, `msg="API keys replaced" for=dials file=\S+ keys=2`)
	p.place("15558675310")
	if got := next(); got != rotated {
		t.Errorf("dialled with %q after the rotation", got)
	}
	p.log.Await(t, `msg="API keys replaced" for="webhook signatures" file=\S+ keys=2`)
	const event = `{"event":"call_completed","reference_id":"A","data":{"status":"call_completed"}}`
	for _, key := range []string{apiKey, rotated} {
		if status, answer := p.post(key, event); status != http.StatusOK {
			t.Errorf("%d %s", status, answer)
		}
	}
}
