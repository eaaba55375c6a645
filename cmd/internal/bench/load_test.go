package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// runRound has the load generator run one round against h.
func runRound(t *testing.T, h http.HandlerFunc, fixed bool) (began bool, r report) {
	t.Helper()
	server := httptest.NewServer(h)
	defer server.Close()
	var in, out bytes.Buffer
	o := order{Host: server.Listener.Addr().String(), Connections: 3, WarmUp: 20 * time.Millisecond, Duration: 100 * time.Millisecond, Fixed: fixed}
	if err := json.NewEncoder(&in).Encode(o); err != nil {
		t.Fatal(err)
	}
	if err := Load(t.Context(), &in, &out); err != nil {
		t.Fatal(err)
	}
	reports := json.NewDecoder(&out)
	for {
		if err := reports.Decode(&r); err != nil {
			t.Fatal(err)
		}
		if !r.Began {
			return began, r
		}
		began, r = true, report{}
	}
}

// answering answers each event with one action.
func answering(body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { writeAnswer(w, []byte(body)) }
}

// Whatever is not the answer that is due ends the round with the reason.
func TestLoadFailsOnABadAnswer(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		fixed   bool
		says    string
	}{
		{"not stored", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "full", http.StatusServiceUnavailable) }, true, "HTTP 503: full"},
		{"no JSON", answering("speak"), true, `the answer "speak"`},
		{"another method", answering(`{"method":"hangup"}`), false, `want the method "speak"`},
		{"no action", answering(`{}`), true, `want the method "speak"`},
		{"the first answer again", answering(`{"method":"speak"}`), false, "speak_completed of call"},
		{"cut off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, true, "EOF"},
		{"chunked", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(w).Flush()
		}, true, "Content-Length is -1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, r := runRound(t, tt.handler, tt.fixed); !strings.Contains(r.Error, tt.says) {
				t.Errorf("got %+v, want %q", r, tt.says)
			}
		})
	}
}

// The calls that are lived are signed calls through the survey, event by event.
func TestLoadLivesTheSurvey(t *testing.T) {
	t.Parallel()
	verifier, err := telesign.NewVerifier(customerID, apiKey)
	if err != nil {
		t.Fatal(err)
	}
	var served, ended atomic.Int64
	expect := survey()
	var lived sync.Map // reference_id to how many of its events have come
	began, r := runRound(t, func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err == nil {
			err = verifier.Verify(req.Header.Get("Authorization"), req.Header.Get("X-TS-Authorization"), body)
		}
		event, parsed := telesign.ParseEvent(body)
		if err != nil || parsed != nil || req.URL.Path != webhookPath {
			http.Error(w, fmt.Sprint(req.URL.Path, err, parsed), http.StatusBadRequest)
			return
		}
		served.Add(1)
		n, _ := lived.Load(event.ReferenceID)
		at, _ := n.(int)
		lived.Store(event.ReferenceID, at+1)
		if e := expect[at]; e.event.Name == event.Name && e.event.Digits == event.Digits {
			if e.want == "" {
				ended.Add(1)
			}
			writeAnswer(w, fmt.Appendf(nil, `{"method":%q}`, e.want))
			return
		}
		http.Error(w, "not an event of the survey", http.StatusBadRequest)
	}, false)
	if r.Error != "" || !began {
		t.Fatalf("got %+v, began: %t", r, began)
	}
	if r.Answers < 1 || int64(r.Answers) > served.Load() || ended.Load() < 1 {
		t.Errorf("%d answers counted of %d; %d calls ended", r.Answers, served.Load(), ended.Load())
	}
	if r.Took < 100*time.Millisecond || r.P50 <= 0 || r.P99 < r.P50 || r.P999 < r.P99 {
		t.Errorf("got %+v", r)
	}
}

func TestQuantileIsExact(t *testing.T) {
	t.Parallel()
	thousand := make([]time.Duration, 1000)
	for i := range thousand {
		thousand[i] = time.Duration(i + 1)
	}
	for _, tt := range []struct {
		values []time.Duration
		q      float64
		want   time.Duration
	}{
		{thousand, 0.5, 501}, {thousand, 0.99, 991}, {thousand, 0.999, 1000}, {thousand[:1], 0.999, 1}, {thousand[:2], 0.5, 2},
	} {
		if got := quantile(tt.values, tt.q); got != tt.want {
			t.Errorf("%g of %d values: got %d, want %d", tt.q, len(tt.values), got, tt.want)
		}
	}
	if got := median([]float64{9, 1, 4}); got != 4 {
		t.Errorf("median of three: got %g", got)
	}
	if got := median([]float64{9, 1, 4, 2}); got != 3 {
		t.Errorf("median of four: got %g", got)
	}
}
