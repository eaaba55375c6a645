package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// lively lives one call over the network, at full speed, and returns what it came
// to.
func lively(t *testing.T, cfg Config, webhook http.Handler) lived {
	t.Helper()
	events := httptest.NewServer(webhook)
	t.Cleanup(events.Close)
	cfg.WebhookURL, cfg.Speed = events.URL, maxSpeed
	s := newSimulator(t, cfg)
	stop := start(t, s)
	if w := post(s, dialBody); w.Code != http.StatusAccepted {
		t.Fatalf("the dial was answered %d", w.Code)
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	return lived{Transcript: s.Transcripts()[0], report: s.Report()}
}

// The webhook has written its answer and believes it heard; TeleSign posts again.
func TestCutBeforeAnswerIsNotSeenByTheWebhook(t *testing.T) {
	t.Parallel()
	var a asked
	l := lively(t, inject(t, "cut-before-answer=1:event=dial_completed", "post-again=1:after=1ms"), a.answering(speakOnce))
	if got := a.names(t); got != "dial_completed dial_completed speak_completed call_completed" || a.bodies[0] != a.bodies[1] {
		t.Errorf("posted %s", got)
	}
	lost := l.Exchanges[0]
	if !lost.Lost || lost.Executed || lost.Answer != speak || !l.Exchanges[1].Executed || l.Exchanges[1].Copy != 1 || !l.report.Healthy() {
		t.Errorf("%+v\n%s", lost, l.report)
	}
}

// The connection breaks while the webhook is still deciding: it notices.
func TestCutBeforeAnswerIsSeenByASlowWebhook(t *testing.T) {
	t.Parallel()
	noticed := make(chan error, 1)
	l := lively(t, inject(t, "cut-before-answer=1:after=1s:event=dial_completed"), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		if strings.Contains(string(body), "dial_completed") {
			<-r.Context().Done()
			noticed <- r.Context().Err()
			return
		}
		_, _ = io.WriteString(w, hangup)
	}))
	select {
	case err := <-noticed:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the webhook's request ended with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("the webhook did not notice")
	}
	if l.End != EndLost || l.Exchanges[0].Answer != "" || l.report.Missed.Count != 0 || l.report.Latency.Answers != 1 {
		t.Errorf("ended with %s\n%s", l.End, l.report)
	}
}

// The answer did arrive, and is executed; only the connection is gone, and no other
// event meets it.
func TestCutAfterAnswer(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	peers := make(map[string]int)
	closed := make(chan struct{}, 16)
	a := &asked{}
	answer := a.answering(speakOnce)
	events := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		peers[r.RemoteAddr]++
		mu.Unlock()
		answer.ServeHTTP(w, r)
	}))
	events.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	events.Start()
	t.Cleanup(events.Close)
	cfg := inject(t, "cut-after-answer=1:event=speak_completed")
	cfg.WebhookURL, cfg.Speed = events.URL, maxSpeed
	s := newSimulator(t, cfg)
	stop := start(t, s)
	post(s, dialBody)
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("no connection was closed")
	}
	mu.Lock()
	if len(peers) != 2 {
		t.Errorf("events came over %v, want two on one connection and one on its own", peers)
	}
	mu.Unlock()
	if err := stop(); err != nil {
		t.Error(err)
	}
	if r := s.Report(); !r.Healthy() || r.Calls.Ended[EndHangup] != 1 || r.Faults[FaultCutAfterAnswer] != 1 || r.Copies.Posted != 0 {
		t.Errorf("reported:\n%s", r)
	}
}

// A connection that is cut is reset, not closed in order.
func TestCutsReset(t *testing.T) {
	t.Parallel()
	for when, fault := range map[string]string{"after": "cut-after-answer=1:event=dial_completed", "before": "cut-before-answer=1:event=dial_completed"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			ended := make(chan error, 2)
			events := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				conn, buffered, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
				_, err = buffered.ReadByte()
				ended <- err
			}))
			t.Cleanup(events.Close)
			cfg := inject(t, fault)
			cfg.WebhookURL, cfg.Speed = events.URL, maxSpeed
			cfg.People = func(CallInfo) Person { return fixed{outcome: Busy} }
			s := newSimulator(t, cfg)
			stop := start(t, s)
			post(s, dialBody)
			if err := <-ended; !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("the connection of the event that is cut ended with %v", err)
			}
			if err := s.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			if err := <-ended; !errors.Is(err, io.EOF) {
				t.Errorf("the other connection ended with %v", err)
			}
		})
	}
}

// voice is a simulator's server, with an http.Client that gives up after a while.
func voice(t *testing.T, s *Simulator, patience time.Duration) func(to string) (status int, body string, err error) {
	t.Helper()
	api := httptest.NewServer(s)
	t.Cleanup(api.Close)
	client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	return func(to string) (int, string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+"/v2/voice",
			strings.NewReader(`{"method":"dial","params":{"to":"`+to+`","caller_id_number":"15554441313","external_id":"x-1"}}`))
		if err != nil {
			return 0, "", err
		}
		r.Header.Set("Authorization", account.Basic())
		resp, err := client.Do(r)
		if err != nil {
			return 0, "", err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body), err
	}
}

// What POST /v2/voice answers, and whether it rings, are two things.
func TestDialFaults(t *testing.T) {
	t.Parallel()
	tests := []struct {
		fault  string
		status int // 0: no answer
		word   string
		rings  bool
		as     string // in the report
	}{
		{"dial-429=1", 429, "rate_limit_exceeded", false, "rate_limit_exceeded"},
		{"dial-5xx=1", 503, "", false, "http_503"},
		{"dial-5xx=1:status=500", 500, "", false, "http_500"},
		{"dial-5xx-rings=1:status=502", 502, "", true, "http_502"},
		{"dial-timeout=1:after=10ms", 0, "", false, "unanswered"},
		{"dial-timeout-rings=1:after=10ms", 0, "", true, "unanswered"},
		{"dial-timeout-rings=1", 0, "", true, "unanswered"}, // the client gives up
	}
	for _, tt := range tests {
		t.Run(tt.fault, func(t *testing.T) {
			t.Parallel()
			var a asked
			events := httptest.NewServer(a.answering(speakOnce))
			t.Cleanup(events.Close)
			cfg := inject(t, tt.fault)
			cfg.WebhookURL, cfg.Speed = events.URL, maxSpeed
			s := newSimulator(t, cfg)
			stop := start(t, s)
			patience := 30 * time.Second
			if !strings.Contains(tt.fault, ":") {
				patience = 300 * time.Millisecond
			}
			status, body, err := voice(t, s, patience)("15555551212")
			if status != tt.status || (err != nil) != (tt.status == 0) {
				t.Errorf("answered %d %s, %v, want %d", status, body, err, tt.status)
			}
			var got telesign.DialResponse
			if tt.status != 0 && (json.Unmarshal([]byte(body), &got) != nil || string(got.Status) != tt.word || got.ReferenceID == "") {
				t.Errorf("answered %s", body)
			}
			if err := s.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			if err := stop(); err != nil {
				t.Error(err)
			}
			calls := 0
			if tt.rings {
				calls = 1
			}
			if r := s.Report(); r.Calls.Total != calls || r.Requests[tt.as] != 1 || len(r.Requests) != 1 || len(r.Faults) != 1 || !r.Healthy() {
				t.Errorf("reported:\n%s", r)
			}
			if calls == 1 && (s.Transcripts()[0].ReferenceID == got.ReferenceID || !strings.Contains(a.bodies[0], "x-1")) {
				t.Errorf("the call is not known by its external_id alone: %s", a.bodies[0])
			}
		})
	}
}

// The first event is posted, and answered, before the 202.
func TestEarlyEvents(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	// The call's next event waits until the 202 is there: without it none would come
	// between, and the test would not know.
	answered := make(chan struct{})
	events := httptest.NewServer(webhook(func(e telesign.Event) string {
		if e.Name != telesign.DialCompleted {
			<-answered
		}
		note(string(e.Name))
		return hangup
	}))
	t.Cleanup(events.Close)
	cfg := inject(t, "early-events=1")
	cfg.WebhookURL = events.URL
	s := newSimulator(t, cfg)
	stop := start(t, s)
	began := time.Now()
	status, body, err := voice(t, s, 30*time.Second)("15555551212")
	note("202")
	close(answered)
	if status != http.StatusAccepted || err != nil || time.Since(began) > 2*second { // nobody lets it ring for 2s
		t.Errorf("answered %d %s, %v, after %s", status, body, err, time.Since(began))
	}
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(order, " "); got != "dial_completed 202 call_completed" {
		t.Errorf("the order was %s", got)
	}
	if x := s.Transcripts()[0]; !strings.Contains(body, x.ReferenceID) {
		t.Errorf("the 202 is not the call's: %s", body)
	}
}
