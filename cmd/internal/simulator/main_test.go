package simulator

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/messages/telesign"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var account = telesign.Credentials{
	CustomerID: "FFFFFFFF-EEEE-DDDD-1234-AB1234567890",
	APIKey:     "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw==",
}

const dialBody = `{"jsonrpc":"2.0","method":"dial","params":{"to":"15555551212","caller_id_number":"15554441313","external_id":"x-1"}}`

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// webhook answers events: the body of an HTTP 200.
type webhook func(e telesign.Event) string

// ServeHTTP refuses what TeleSign would not have signed, and what does not parse.
func (h webhook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	v, err := telesign.NewVerifier(account.CustomerID, account.APIKey)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	for _, headers := range [][2]string{
		{r.Header.Get("Authorization"), ""},
		{"", r.Header.Get("X-TS-Authorization")},
	} {
		if err := v.Verify(headers[0], headers[1], body); err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
			return
		}
	}
	e, err := telesign.ParseEvent(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	_, _ = io.WriteString(w, h(e))
}

// inProcess is a transport to a handler without a network, for fake time.
type inProcess struct{ http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return w.Result(), nil
}

// never answers before the poster gives up.
var never = http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })

func config() Config {
	cfg := Defaults()
	cfg.WebhookURL = "http://webhook.test/telesign/events"
	cfg.Account = account
	cfg.KeepTranscripts = true
	return cfg
}

// post sends one request to the simulator, with Basic authentication.
func post(s http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v2/voice", strings.NewReader(body))
	r.Header.Set("Authorization", account.Basic())
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	return w
}

// start runs s; stop ends it and returns what Run did.
func start(t *testing.T, s *Simulator) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// newSimulator is one from a valid config.
func newSimulator(t *testing.T, cfg Config) *Simulator {
	t.Helper()
	s, err := New(cfg, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// lived is what one call came to.
type lived struct {
	Transcript
	report Report
}

// names is the events of a call, in order.
func (l lived) names() []string {
	var names []string
	for _, x := range l.Exchanges {
		names = append(names, string(x.Name))
	}
	return names
}

func (l lived) event(t *testing.T, i int) telesign.Event {
	t.Helper()
	if i >= len(l.Exchanges) {
		t.Fatalf("the call had %d events, want more than %d: %v", len(l.Exchanges), i, l.names())
	}
	e, err := telesign.ParseEvent(l.Exchanges[i].Event)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// live lives one call in fake time: a dial, unless begin does something else.
func live(t *testing.T, cfg Config, h http.Handler, begin func(t *testing.T, s *Simulator)) lived {
	t.Helper()
	var l lived
	synctest.Test(t, func(t *testing.T) {
		cfg.Transport = inProcess{h}
		s := newSimulator(t, cfg)
		stop := start(t, s)
		if begin != nil {
			begin(t, s)
		} else if w := post(s, dialBody); w.Code != http.StatusAccepted {
			t.Errorf("the dial was answered %d %s", w.Code, w.Body)
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		l.report = s.Report()
		all := s.Transcripts()
		if len(all) != 1 {
			t.Fatalf("%d calls were lived, want 1", len(all))
		}
		l.Transcript = all[0]
	})
	return l
}

// total is how long the call took by its own clock.
func (l lived) total() time.Duration { return l.Exchanges[len(l.Exchanges)-1].At }
