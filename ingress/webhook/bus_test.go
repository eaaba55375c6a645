package webhook

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/bus/embedded"
)

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = 20 * time.Second

// wide is a window that a busy machine does not miss by accident: the door gives up
// after 2 s and has 3 s for its report.
var wide = Config{AnswerWithin: 5 * time.Second, AnswerMargin: 3 * time.Second}

func within(t testing.TB, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

func startNATS(t testing.TB) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(within(t, patience), embedded.Config{Dir: t.TempDir()}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// connect is one process's bus.
func connect(t testing.TB, s interface{ InProcessConn() (net.Conn, error) }, name string) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(within(t, patience), bus.Config{InProcess: s, Name: name, AnswerWithin: wide.AnswerWithin}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(within(t, patience)); err != nil {
			t.Errorf("close the bus: %v", err)
		}
	})
	if err := b.Setup(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	return b
}

// worker consumes events until the test ends. decide says how to reply; nil means
// not at all.
func worker(t testing.TB, b *bus.Bus, decide func(bus.Delivery) *messages.Reply) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- b.ConsumeEvents(ctx, bus.ConsumerConfig{}, func(ctx context.Context, d bus.Delivery) bus.Result {
			if r := decide(d); r != nil {
				if err := b.Reply(ctx, d.Envelope, *r); err != nil {
					return bus.Retry(0, err)
				}
			}
			return bus.Done()
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the worker: %v", err)
		}
	})
}

// listening is a door on a real socket and a client of it.
type listening struct {
	url    string
	reg    *prometheus.Registry
	client *http.Client
}

func listen(t testing.TB, b Bus, sp Spool) *listening {
	t.Helper()
	l := &listening{reg: prometheus.NewRegistry(), client: &http.Client{Transport: &http.Transport{}, Timeout: patience}}
	s, err := New(wide, mustVerifier(t, testKey), b, sp, l.reg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local
	if err != nil {
		t.Fatal(err)
	}
	l.url = "http://" + ln.Addr().String() + Path
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, ln) }()
	t.Cleanup(func() {
		l.client.CloseIdleConnections()
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return l
}

// post sends a signed event.
func (l *listening) post(t testing.TB, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(within(t, patience), http.MethodPost, l.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range signature(t, testKey, body) {
		r.Header.Set(name, value)
	}
	res, err := l.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(got)
}

func receive[T any](t testing.TB, what string, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing came in %v", what, patience)
		panic("unreachable")
	}
}

// TestOverNATS has the real stream and a worker on the other side of it.
func TestOverNATS(t *testing.T) {
	t.Parallel()
	nats := startNATS(t)
	ingress, workers := connect(t, nats, "ingress"), connect(t, nats, "worker")
	seen := make(chan bus.Delivery, 100)
	silent := make(chan bus.Delivery, 1) // the event that is left without a reply until the report of it comes
	worker(t, workers, func(d bus.Delivery) *messages.Reply {
		seen <- d
		switch {
		case d.Kind == messages.KindTold && d.Event == "play_completed":
			if err := workers.Reply(context.Background(), (<-silent).Envelope, decided); err != nil {
				t.Errorf("reply: %v", err)
			}
			return nil
		case d.Kind == messages.KindTold, d.Event == "call_completed":
			return nil
		case d.Event == "speak_completed":
			return &holds
		case d.Event == "play_completed":
			silent <- d
			return nil
		}
		return &decided
	})
	l := listen(t, ingress, nil)
	door := &door{reg: l.reg}

	t.Log("a decision")
	if status, body := l.post(t, incoming); status != 200 || body != decision {
		t.Errorf("%d %s", status, body)
	}
	if d := receive(t, "the event", seen); string(d.Body) != incoming || d.ReplyTo == "" || d.Deadline.Sub(d.Arrived) != wide.AnswerWithin {
		t.Errorf("the worker got %+v", d)
	}

	t.Log("an event as large, and a call id as long and odd, as is taken")
	odd := `{"event":"dial_completed","reference_id":"` + strings.Repeat(`/%\u0000é`, maxName/5) + `"}`
	odd += strings.Repeat("\n", MaxBody-len(odd))
	if status, body := l.post(t, odd); status != 200 || body != decision {
		t.Errorf("%d %s", status, body)
	}
	if d := receive(t, "the odd event", seen); !bytes.Equal(d.Body, []byte(odd)) || len(d.CallID) != maxName/5*5 {
		t.Errorf("the worker got %d bytes of call %q", len(d.Body), d.CallID)
	}

	t.Log("a worker that cannot decide")
	if status, body := l.post(t, named("speak_completed")); status != 200 || !strings.Contains(body, wide.WithDefaults().HoldText) {
		t.Errorf("%d %s", status, body)
	}
	event, report := receive(t, "the event", seen), receive(t, "its report", seen)
	told, err := messages.ParseTold(report.Body)
	if want := (messages.Told{EventID: event.EventID, Answer: messages.ToldHold, Reason: holds.Reason}); err != nil || told != want {
		t.Errorf("told %+v, %v; want %+v", told, err, want)
	}
	if report.Kind != messages.KindTold || report.CallID != event.CallID || report.Sequence <= event.Sequence {
		t.Errorf("the report %+v of event %+v", report, event)
	}

	t.Log("the end of a call")
	if status, body := l.post(t, ended); status != 200 || body != "{}" {
		t.Errorf("%d %s", status, body)
	}
	if d := receive(t, "the event", seen); d.ReplyTo != "" || !d.Deadline.IsZero() || string(d.Body) != ended {
		t.Errorf("the worker got %+v", d)
	}

	t.Log("a reply that comes too late")
	if status, body := l.post(t, named("play_completed")); status != 200 || !strings.Contains(body, wide.WithDefaults().HoldText) {
		t.Errorf("%d %s", status, body)
	}
	receive(t, "the event", seen)
	receive(t, "its report", seen)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); door.metric(t, "offhook_webhook_late_replies_total") != 1; <-tick.C {
		if time.Now().After(end) {
			t.Fatal("the late reply was not counted")
		}
	}

	if asks := ingress.Stats().Asks; asks != 0 {
		t.Errorf("%d asks are still open", asks)
	}
}
