package apiclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/cmd/internal/apiclient"
	"github.com/offhook/offhook/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newClient is a client of handler.
func newClient(t *testing.T, handler http.HandlerFunc) *apiclient.Client {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	c := apiclient.New(server.URL + "/")
	t.Cleanup(c.Close)
	return c
}

func answer(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func TestRequests(t *testing.T) {
	t.Parallel()
	var got []string
	c := newClient(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got = append(got, strings.TrimSpace(r.Method+" "+r.URL.EscapedPath()+" "+r.Header.Get("Content-Type")+" "+string(body)))
		switch {
		case r.Method == http.MethodPost:
			answer(http.StatusAccepted, `{"id":"oh-1","replayed":true,"warnings":["to: short"]}`)(w, r)
		case r.URL.Path == "/v1/flows":
			answer(http.StatusOK, `{"flows":{"survey":"0123"}}`)(w, r)
		default:
			answer(http.StatusOK, `{"status":"live","record":{"call_id":"X"}}`)(w, r)
		}
	})
	placed, err := c.Place(t.Context(), messages.PlaceCall{
		To: "15558675309", CallerID: "15555551212", Flow: "survey", Contact: map[string]string{"first_name": "Ann"}, Key: "k",
		NotAfter: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC),
	})
	if diff := cmp.Diff(messages.PlacedCall{ID: "oh-1", Replayed: true, Warnings: []string{"to: short"}}, placed); diff != "" || err != nil {
		t.Errorf("placed: %v\n%s", err, diff)
	}
	flows, err := c.Flows(t.Context())
	if err != nil || flows.Flows["survey"] != "0123" {
		t.Errorf("flows: %v, %v", flows, err)
	}
	for _, id := range []string{"X", "a/b c", "..", "%2F?#"} {
		if shown, err := c.Call(t.Context(), id); err != nil || shown.Status != messages.CallLive || shown.Record.CallID != "X" {
			t.Errorf("call %s: %+v, %v", id, shown, err)
		}
	}
	want := []string{
		`POST /v1/calls application/json {"to":"15558675309","caller_id_number":"15555551212","flow":"survey","contact":{"first_name":"Ann"},"idempotency_key":"k","not_after":"2026-11-22T12:00:00Z"}`,
		"GET /v1/flows", "GET /v1/calls/X", "GET /v1/calls/a%2Fb%20c", "GET /v1/calls/%2E%2E", "GET /v1/calls/%252F%3F%23",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests: -want +got\n%s", diff)
	}
}

// Every failure of the API arrives as it left.
func TestErrorsOfTheAPI(t *testing.T) {
	t.Parallel()
	for _, code := range []messages.Code{
		messages.CodeInternal, messages.CodeInvalid, messages.CodeUsage, messages.CodeUnauthorized, messages.CodeNotFound, messages.CodeMethod,
		messages.CodeTooLarge, messages.CodeConflict, messages.CodeUnavailable, messages.CodeTimeout, messages.CodeRefused, "of_a_newer_version",
	} {
		t.Run(string(code), func(t *testing.T) {
			t.Parallel()
			c := newClient(t, answer(code.HTTPStatus(), `{"error":{"code":"`+string(code)+`","message":"what is wrong","field":"to"}}`))
			_, err := c.Place(t.Context(), messages.PlaceCall{})
			if messages.CodeOf(err) != code || err.Error() != "to: what is wrong" {
				t.Errorf("got %s, %v", messages.CodeOf(err), err)
			}
			if messages.CodeOf(err).ExitCode() != code.ExitCode() {
				t.Errorf("exit code %d, want %d", messages.CodeOf(err).ExitCode(), code.ExitCode())
			}
		})
	}
}

func TestBrokenAnswers(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		code    messages.Code
		says    string
	}{
		{"a web server", answer(http.StatusOK, "<html>It works!</html>"), messages.CodeUnavailable, "is not an offhook API"},
		{"a web server that has no such page", answer(http.StatusNotFound, "404 page not found"), messages.CodeUnavailable, "is not an offhook API: it answered 404 Not Found"},
		{"JSON of somebody else's", answer(http.StatusInternalServerError, `{"error":"x"}`), messages.CodeUnavailable, "is not an offhook API: it answered 500"},
		{"an object of somebody else's", answer(http.StatusOK, `{}`), messages.CodeUnavailable, "is not an offhook API"},
		{"null", answer(http.StatusOK, `null`), messages.CodeUnavailable, "is not an offhook API"},
		{"other types", answer(http.StatusOK, `{"id":7,"status":7,"flows":7}`), messages.CodeUnavailable, "is not an offhook API"},
		{"nothing", answer(http.StatusOK, ""), messages.CodeUnavailable, "is not an offhook API"},
		{"half", answer(http.StatusOK, `{"id":"oh-1`), messages.CodeUnavailable, "is not an offhook API"},
		{"too much", answer(http.StatusOK, `{"id":"`+strings.Repeat("x", 4<<20)+`"}`), messages.CodeTooLarge, "larger than 4 MiB"},
		{"a redirect", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "http://elsewhere.example.com/")
			w.WriteHeader(http.StatusTemporaryRedirect)
		}, messages.CodeUnavailable, "it answered 307"},
		{"it breaks off", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{"id":`)
		}, messages.CodeUnavailable, "the answer broke off"},
		{"it hangs up", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, messages.CodeUnavailable, "no offhook API at http://127.0.0.1:"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, tt.handler)
			_, place := c.Place(t.Context(), messages.PlaceCall{})
			_, call := c.Call(t.Context(), "X")
			_, flows := c.Flows(t.Context())
			for _, err := range []error{place, call, flows} {
				if messages.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
					t.Errorf("got %s, %v; want %s that says %q", messages.CodeOf(err), err, tt.code, tt.says)
				}
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	c := apiclient.New("http://" + ln.Addr().String())
	defer c.Close()
	_, err = c.Flows(t.Context())
	if messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "start one with `offhook api`") || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("got %v", err)
	}
}

// A password in the URL, for a proxy in front of the API, is sent and never shown,
// whatever goes wrong.
func TestCredentialsAreNeverShown(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := r.BasicAuth(); !ok || user != "annuser" || password != "hunter2" {
			t.Errorf("authenticated as %q %q", user, password)
		}
		answer(http.StatusOK, "<html>")(w, r)
	}))
	defer server.Close()
	host := strings.TrimPrefix(server.URL, "http://")
	for _, tt := range []struct {
		base string
		code messages.Code
		says string
	}{
		{"http://annuser:hunter2@" + host, messages.CodeUnavailable, "what listens at http://****@" + host + " is not"},
		{"http://annuser:hunter2@127.0.0.1:1/sub", messages.CodeUnavailable, "no offhook API at http://****@127.0.0.1:1/sub;"},
		{"http://annuser:hunter2@127.0.0.1:1?x=hunter2", messages.CodeUsage, "URL is wrong"},
		{"http://annuser:hun%ter2@127.0.0.1:1", messages.CodeUsage, "URL is wrong"},
		{"http://annuser:hunter2@127.0.0.1:port", messages.CodeUsage, "URL is wrong"},
		{"annuser:hunter2@127.0.0.1:1", messages.CodeUsage, "URL is wrong"},
		{"ftp://annuser:hunter2@127.0.0.1:1", messages.CodeUsage, "URL is wrong"},
		{"", messages.CodeUsage, "OFFHOOK_API_URL"},
	} {
		c := apiclient.New(tt.base)
		_, err := c.Flows(t.Context())
		if messages.CodeOf(err) != tt.code || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: got %s, %v", tt.base, messages.CodeOf(err), err)
		}
		for ; err != nil; err = errors.Unwrap(err) {
			if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "hun%ter2") || strings.Contains(err.Error(), "annuser") {
				t.Errorf("%s: shown in %v", tt.base, err)
			}
		}
		c.Close()
	}
}

func TestNoID(t *testing.T) {
	t.Parallel()
	c := apiclient.New("http://127.0.0.1:1")
	if _, err := c.Call(t.Context(), ""); messages.CodeOf(err) != messages.CodeUsage {
		t.Errorf("got %v", err)
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	c := newClient(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel(errors.New("interrupted"))
		<-r.Context().Done()
	})
	_, err := c.Flows(ctx)
	if messages.CodeOf(err) != messages.CodeTimeout || !strings.Contains(err.Error(), "stopped waiting for the API at http://127.0.0.1:") || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("got %s, %v", messages.CodeOf(err), err)
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := apiclient.New("http://offhook.test")
		c.SetTransport(roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		began := time.Now()
		_, err := c.Flows(t.Context())
		if messages.CodeOf(err) != messages.CodeTimeout || !strings.Contains(err.Error(), "http://offhook.test did not answer within 15s") {
			t.Errorf("got %s, %v", messages.CodeOf(err), err)
		}
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("took %s", took)
		}
	})
}
