package dial_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/dial"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var call = telesign.Dial{
	To: "15555551212", CallerIDNumber: "15554441313", MaxCallDuration: 15 * time.Minute,
	ExternalID: "oh-0123456789abcdef0123456789abcdef",
}

const callBody = `{"jsonrpc":"2.0","method":"dial","params":{"to":"15555551212","caller_id_number":"15554441313",` +
	`"max_call_duration":"900","external_id":"oh-0123456789abcdef0123456789abcdef"}}`

const accepted = `{"reference_id":"0123456789ABCDEF0123456789ABCDEF","status":"dial_accepted","external_id":"oh-0123456789abcdef0123456789abcdef"}`

// client makes a Client for url; change may be nil.
func client(t *testing.T, url string, change func(*dial.Config)) *dial.Client {
	t.Helper()
	cfg := dial.Config{URL: url, Credentials: account}
	if change != nil {
		change(&cfg)
	}
	c, err := dial.New(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestRequest(t *testing.T) {
	t.Parallel()
	for _, auth := range []dial.Auth{dial.AuthBasic, dial.AuthDigest} {
		for _, path := range []string{"", "/", "/v2/voice", "/v2/voice/", "/gate%2Fway", "//gate%2Fway//v2/voice"} {
			t.Run(string(auth)+path, func(t *testing.T) {
				t.Parallel()
				var nonces []string
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					body, err := io.ReadAll(r.Body)
					if err != nil || string(body) != callBody {
						t.Errorf("body %s, %v; want %s", body, err, callBody)
					}
					want := "/v2/voice"
					if strings.Contains(path, "gate") {
						want = "/gate%2Fway" + want
					}
					if r.Method != http.MethodPost || r.URL.EscapedPath() != want {
						t.Errorf("%s %s, want POST %s", r.Method, r.URL.EscapedPath(), want)
					}
					for name, want := range map[string]string{
						"Content-Type": "application/json", "Accept": "application/json", "User-Agent": "offhook", "Idempotency-Key": "",
					} {
						if got := r.Header.Get(name); got != want {
							t.Errorf("%s: %q, want %q", name, got, want)
						}
					}
					if scheme, _, _ := strings.Cut(r.Header.Get("Authorization"), " "); (scheme == "TSA") != (auth == dial.AuthDigest) {
						t.Errorf("scheme %q for %s", scheme, auth)
					}
					if err := telesign.VerifyRequest(r.Header, r.Method, r.URL.EscapedPath(), body, account); err != nil {
						t.Error(err)
					}
					nonces = append(nonces, r.Header.Get("X-Ts-Nonce"))
					w.WriteHeader(http.StatusAccepted)
					_, _ = io.WriteString(w, accepted)
				}))
				defer server.Close()
				c := client(t, server.URL+path, func(cfg *dial.Config) { cfg.Auth = auth })
				for range 2 {
					if got := c.Dial(t.Context(), call); got != wantAccepted {
						t.Errorf("got %+v, want %+v", got, wantAccepted)
					}
				}
				if auth == dial.AuthDigest && (nonces[0] == nonces[1] || len(nonces[0]) != 36) {
					t.Errorf("nonces %q", nonces)
				}
			})
		}
	}
}

var wantAccepted = dial.Outcome{
	Kind: dial.Accepted, HTTPStatus: http.StatusAccepted,
	Status: telesign.DialAccepted, ReferenceID: "0123456789ABCDEF0123456789ABCDEF",
}

// TLS as with TeleSign, against a server that would rather speak HTTP/2.
func TestTLS(t *testing.T) {
	t.Parallel()
	var protocol atomic.Value
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		protocol.Store(r.Proto)
		w.WriteHeader(http.StatusAccepted)
		_, _ = io.WriteString(w, accepted)
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	c := client(t, server.URL, nil)
	c.Transport().TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
	if got := c.Dial(t.Context(), call); got != wantAccepted {
		t.Errorf("got %+v, want %+v", got, wantAccepted)
	}
	if protocol.Load() != "HTTP/1.1" {
		t.Errorf("spoke %v", protocol.Load())
	}
}

func TestInvalidDialIsNotSent(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("something was sent") }))
	defer server.Close()
	o := client(t, server.URL, nil).Dial(t.Context(), telesign.Dial{To: "+1", CallerIDNumber: "2"})
	if o.Kind != dial.Refused || o.HTTPStatus != 0 || o.Err == nil {
		t.Errorf("got %+v", o)
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	for _, code := range []int{301, 302, 303, 307, 308} {
		var requests atomic.Int32
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			requests.Add(1)
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(code)
		}))
		o := client(t, server.URL, nil).Dial(t.Context(), call)
		server.Close()
		if o.Kind != dial.Ambiguous || o.HTTPStatus != code || requests.Load() != 1 {
			t.Errorf("HTTP %d: %+v after %d requests", code, o, requests.Load())
		}
	}
}

// Neither numbers nor the key get into the log, wherever TeleSign may put them.
func TestLog(t *testing.T) {
	t.Parallel()
	answers := []struct {
		code int
		body string
	}{
		{http.StatusAccepted, accepted},
		{http.StatusBadRequest, `{"status":"invalid_phone_number","reference_id":"R"}`},
		{http.StatusBadRequest, `{"status":"to 15555551212 or +1 (555) 555-1212 is bad"}`},
		{http.StatusUnauthorized, `{"status":"not_authorized"}`},
		{http.StatusInternalServerError, `15555551212`},
		{http.StatusOK, `{"status":15555551212}`},
	}
	var log bytes.Buffer
	var i atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		a := answers[i.Add(1)-1]
		w.WriteHeader(a.code)
		_, _ = io.WriteString(w, a.body)
	}))
	defer server.Close()
	c, err := dial.New(dial.Config{URL: server.URL, Credentials: account}, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	for range answers {
		c.Dial(t.Context(), call)
	}
	c.Dial(t.Context(), telesign.Dial{To: "15555551212", CallerIDNumber: "155544413131234567890"})
	if lines := strings.Count(log.String(), "\n"); lines != len(answers)+1 {
		t.Errorf("%d lines for %d dials", lines, len(answers)+1)
	}
	for _, secret := range []string{"5555551212", "555-1212", "5554441313", account.APIKey} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("%s shows in the log:\n%s", secret, log.String())
		}
	}
	for _, want := range []string{
		"level=INFO", "level=ERROR", "level=WARN", "to=****12", "outcome=accepted", "status=invalid_phone_number",
		"external_id=" + call.ExternalID, "reference_id=0123456789ABCDEF0123456789ABCDEF",
	} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in the log:\n%s", want, log.String())
		}
	}
}

// A key is rotated while dials go on; one that is none changes nothing.
func TestUseCredentials(t *testing.T) {
	t.Parallel()
	other := telesign.Credentials{CustomerID: account.CustomerID, APIKey: "c2VjcmV0c2VjcmV0"}
	for _, auth := range []dial.Auth{dial.AuthBasic, dial.AuthDigest} {
		want := account
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body) // what is missing does not verify
			if err := telesign.VerifyRequest(r.Header, r.Method, r.URL.EscapedPath(), body, want); err != nil {
				t.Errorf("%s: %v", auth, err)
			}
			w.WriteHeader(http.StatusAccepted)
			_, _ = io.WriteString(w, accepted)
		}))
		c := client(t, server.URL, func(cfg *dial.Config) { cfg.Auth = auth })
		c.Dial(t.Context(), call)
		if err := c.UseCredentials(telesign.Credentials{CustomerID: account.CustomerID, APIKey: "!"}); messages.CodeOf(err) != messages.CodeUsage {
			t.Errorf("no key: %v", err)
		}
		c.Dial(t.Context(), call)
		want = other
		if err := c.UseCredentials(other); err != nil {
			t.Error(err)
		}
		if got := c.Dial(t.Context(), call); got != wantAccepted {
			t.Errorf("got %+v", got)
		}
		server.Close()
	}
}
