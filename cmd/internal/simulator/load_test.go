package simulator

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offhook/offhook/messages/telesign"
)

// placed is one dial over the network.
func placed(ctx context.Context, c *http.Client, url, body string) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v2/voice", strings.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Authorization", account.Basic())
	resp, err := c.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the dial was answered %d %s", resp.StatusCode, got)
	}
	return nil
}

// Two thousand calls are live at once, from dial to record, over real sockets.
func TestTwoThousandCallsAtOnce(t *testing.T) {
	t.Parallel()
	const calls = 2000
	events := httptest.NewServer(webhook(func(e telesign.Event) string {
		if e.Name == telesign.DialCompleted && e.Status == telesign.StatusAnswered {
			return collect
		}
		return hangup
	}))
	t.Cleanup(events.Close)
	cfg := config()
	cfg.WebhookURL = events.URL
	cfg.KeepTranscripts = false
	cfg.Speed = 50
	cfg.AnswerWindow = time.Minute // this is about correctness, on a machine that is shared
	s := newSimulator(t, cfg)
	api := httptest.NewServer(s)
	t.Cleanup(api.Close)

	group, ctx := errgroup.WithContext(t.Context())
	group.SetLimit(16)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	t.Cleanup(client.CloseIdleConnections)
	for i := range calls {
		group.Go(func() error {
			return placed(ctx, client, api.URL, fmt.Sprintf(`{"method":"dial","params":{"to":"1555%07d","caller_id_number":"15554441313"}}`, i))
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if live := s.Report().Calls.Live; live != calls {
		t.Fatalf("%d calls wait for Run, want %d", live, calls)
	}
	stop := start(t, s)
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	r := s.Report()
	t.Logf("\n%s", r)
	if !r.Healthy() || r.Calls.Total != calls || r.Calls.Live != 0 {
		t.Fatalf("not what was called:\n%s", r)
	}
	ended := 0
	for _, n := range r.Calls.Ended {
		ended += n
	}
	answered := r.Calls.Ended[EndHangup] + r.Calls.Ended[EndPerson]
	if ended != calls || r.Events[telesign.DialCompleted] != calls || r.Events[telesign.CallCompleted] != calls || r.Answers[telesign.MethodPlay] != answered {
		t.Errorf("the report does not add up:\n%s", r)
	}
	if got := s.Transcripts(); got != nil {
		t.Errorf("%d transcripts were kept", len(got))
	}
}

// The first event of a call comes after the 202 has been written, even when nobody
// lets it ring.
func TestEventsComeAfterThe202(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Speed = maxSpeed
	cfg.People = Scripted(Script{Ring: time.Nanosecond})
	var mu sync.Mutex
	var order []string
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, what)
	}
	events := httptest.NewServer(webhook(func(e telesign.Event) string { note(string(e.Name)); return hangup }))
	t.Cleanup(events.Close)
	cfg.WebhookURL = events.URL
	s := newSimulator(t, cfg)
	stop := start(t, s)
	r := httptest.NewRequest(http.MethodPost, "/v2/voice", strings.NewReader(dialBody))
	r.Header.Set("Authorization", account.Basic())
	s.ServeHTTP(flushed{httptest.NewRecorder(), func() { note("202") }}, r)
	if err := s.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(order, " "); got != "202 dial_completed call_completed" {
		t.Errorf("the order was %s", got)
	}
}

type flushed struct {
	http.ResponseWriter
	note func()
}

func (f flushed) Flush() { f.note() }

// A connection that drops in the middle of an answer is a missed answer, not a
// wrong one.
func TestConnectionErrorsAreMissedAnswers(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Speed = maxSpeed
	events := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, hangup)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(events.Close)
	cfg.WebhookURL = events.URL
	s := newSimulator(t, cfg)
	stop := start(t, s)
	post(s, dialBody)
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if r := s.Report(); r.Missed.By[missedConnection] != 2 || r.Invalid.Count != 0 || r.Latency.Answers != 0 || r.Calls.Ended[EndMissed] != 1 {
		t.Errorf("the report does not say so:\n%s", r)
	}
}

// No more events are out at once than there are connections, and waiting for one
// is not counted as the webhook's time.
func TestPostsAreBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.MaxConnections = 3
		cfg.People = Scripted(Script{})
		var mu sync.Mutex
		out, most := 0, 0
		cfg.Transport = inProcess{webhook(func(telesign.Event) string {
			mu.Lock()
			out++
			most = max(most, out)
			mu.Unlock()
			<-time.After(time.Second) // fake
			mu.Lock()
			out--
			mu.Unlock()
			return hangup
		})}
		s := newSimulator(t, cfg)
		for range 60 {
			post(s, dialBody)
		}
		stop := start(t, s)
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		// 120 events in threes of a second each; the last dial_completed waits for 19
		// threes, then as its call_completed does.
		r := s.Report()
		if most != 3 {
			t.Errorf("%d events were out at once, want 3", most)
		}
		if !r.Healthy() || r.Latency.Max != 1000 || r.ConnectionWait != 19_000 {
			t.Errorf("answers took up to %g ms and waited up to %g ms, want 1000 and 19000", r.Latency.Max, r.ConnectionWait)
		}
	})
}

// Run leaves no connection open: the webhook sees its one closed when Run has
// returned, long before it would have been idle for too long.
func TestRunClosesItsConnections(t *testing.T) {
	t.Parallel()
	closed := make(chan struct{}, 16)
	events := httptest.NewUnstartedServer(answers())
	events.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateClosed {
			closed <- struct{}{}
		}
	}
	events.Start()
	t.Cleanup(events.Close)
	cfg := config()
	cfg.WebhookURL = events.URL
	cfg.Speed = maxSpeed
	cfg.People = Scripted(Script{})
	s := newSimulator(t, cfg)
	stop := start(t, s)
	post(s, dialBody)
	if err := s.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-closed:
		t.Error("the connection was not kept for the next event")
	default:
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("a connection is still open 10s after Run returned")
	}
}
