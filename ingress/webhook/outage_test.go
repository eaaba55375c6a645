package webhook

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/ingress/webhook/spool"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/bus/embedded"
)

// restartable is a nats-server that comes back on its files.
type restartable struct {
	dir string
	now atomic.Pointer[embedded.Server]
}

func (r *restartable) InProcessConn() (net.Conn, error) {
	if s := r.now.Load(); s != nil {
		return s.InProcessConn()
	}
	return nil, errors.New("the server is down")
}

func (r *restartable) start(t testing.TB) {
	t.Helper()
	s, err := embedded.Start(within(t, patience), embedded.Config{Dir: r.dir}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	r.now.Store(s)
}

func (r *restartable) stop() {
	if s := r.now.Swap(nil); s != nil {
		s.Close()
	}
}

func startRestartable(t testing.TB) *restartable {
	t.Helper()
	r := &restartable{dir: t.TempDir()}
	r.start(t)
	t.Cleanup(r.stop)
	return r
}

func openSpool(t testing.TB, cfg spool.Config) *spool.Spool {
	t.Helper()
	sp, err := spool.Open(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sp.Close(); err != nil {
			t.Error(err)
		}
	})
	return sp
}

// atOnce is the limit of an answer that waits for nobody.
const atOnce = 50 * time.Millisecond

// median of what posting took, several times: one of them may have waited for this
// machine.
func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2]
}

// Edge cases 17 and 36: with NATS stopped, the answer comes at once: a 503 without a
// spool, the fallback with one.
func TestNATSGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spool        bool
		status       int
		answer, none string
	}{
		"without a spool": {status: 503, answer: "could not be stored", none: "could not be stored"},
		"with a spool":    {spool: true, status: 200, answer: "One moment, please.", none: "{}"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRestartable(t)
			ingress := connect(t, server, "ingress")
			var sp Spool
			if c.spool {
				sp = openSpool(t, spool.Config{Dir: t.TempDir()})
			}
			l := listen(t, ingress, sp)
			server.stop()
			var took []time.Duration
			for i := range 11 {
				for event, want := range map[string]string{fmt.Sprintf(`{"event":"incoming_call","reference_id":"call-%d"}`, i): c.answer, ended: c.none} {
					began := time.Now()
					status, body := l.post(t, event)
					took = append(took, time.Since(began))
					if status != c.status || !strings.Contains(body, want) {
						t.Errorf("%d %s, want %d %s", status, body, c.status, want)
					}
				}
			}
			t.Logf("answered in %v", took)
			if m := median(took); m >= atOnce {
				t.Errorf("answered in %v (median), want less than %v", m, atOnce)
			}
		})
	}
}

// seen waits for deliveries of the events stream until n distinct events and reports
// were delivered, and returns them in the stream's order.
func seen(t testing.TB, ch <-chan bus.Delivery, n int) []bus.Delivery {
	t.Helper()
	byID := map[string]bus.Delivery{}
	for len(byID) < n {
		d := receive(t, fmt.Sprintf("delivery %d of %d", len(byID)+1, n), ch)
		if first, again := byID[d.EventID]; !again || d.Sequence < first.Sequence {
			byID[d.EventID] = d
		}
	}
	var all []bus.Delivery
	for _, d := range byID {
		all = append(all, d)
	}
	slices.SortFunc(all, func(a, b bus.Delivery) int { return int(a.Sequence) - int(b.Sequence) })
	return all
}

// TestNATSComesBack: what was answered during an outage is in the stream after it,
// in order, each event before its report, marked late; then calls go on as before.
func TestNATSComesBack(t *testing.T) {
	t.Parallel()
	server := startRestartable(t)
	ingress, workers := connect(t, server, "ingress"), connect(t, server, "worker")
	deliveries := make(chan bus.Delivery, 1000)
	worker(t, workers, func(d bus.Delivery) *messages.Reply {
		deliveries <- d
		if d.ReplyTo == "" || d.Late {
			return nil
		}
		return &decided
	})
	l := listen(t, ingress, openSpool(t, spool.Config{Dir: t.TempDir()}))
	door := &door{reg: l.reg}
	server.stop()
	const calls, events = 5, 4
	var want []string
	for n := range events {
		for call := range calls {
			body := fmt.Sprintf(`{"event":"speak_completed","reference_id":"call-%d","data":{"n":%d}}`, call, n)
			want = append(want, body)
			if status, answer := l.post(t, body); status != 200 || !strings.Contains(answer, "One moment") {
				t.Fatalf("%d %s", status, answer)
			}
		}
	}
	if got := door.metric(t, "offhook_spool_events"); got != 2*calls*events {
		t.Errorf("%v in the spool, want %d", got, 2*calls*events)
	}
	if age := door.metric(t, "offhook_spool_oldest_age_seconds"); age <= 0 {
		t.Errorf("the oldest is %v s old", age)
	}
	server.start(t)
	all := seen(t, deliveries, 2*calls*events)
	var got []string
	for i := 0; i < len(all); i += 2 {
		event, report := all[i], all[i+1]
		told, err := messages.ParseTold(report.Body)
		if err != nil || told.EventID != event.EventID || told.Answer != messages.ToldHold || !event.Late || !report.Late || event.ReplyTo != "" {
			t.Errorf("event %+v, report %+v, %v", event, told, err)
		}
		got = append(got, string(event.Body))
	}
	if !slices.Equal(got, want) {
		t.Errorf("the stream has\n%q\nwant\n%q", got, want)
	}
	eventually(t, "a decision", func() bool {
		status, body := l.post(t, `{"event":"speak_completed","reference_id":"call-0"}`)
		return status == 200 && body == decision
	})
	if got := door.metric(t, "offhook_spool_events"); got != 0 {
		t.Errorf("%v are still in the spool", got)
	}
}

// eventually asks until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); !ok(); <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s: not in %v", what, patience)
		}
	}
}

// TestStreamFull: what a full stream refuses is answered, kept in the spool, and in
// the stream once there is room; when the spool is full too, and only then, the
// answer is a 503.
func TestStreamFull(t *testing.T) {
	t.Parallel()
	server := startRestartable(t)
	ingress := connect(t, server, "ingress")
	nc, err := nats.Connect("", nats.InProcessServer(server))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	limit := func(most int64) {
		t.Helper()
		ctx := within(t, patience)
		stream, err := js.Stream(ctx, messages.StreamEvents)
		if err != nil {
			t.Fatal(err)
		}
		cfg := stream.CachedInfo().Config
		cfg.MaxMsgs = most
		if _, err := js.UpdateStream(ctx, cfg); err != nil {
			t.Fatal(err)
		}
	}
	sp := openSpool(t, spool.Config{Dir: t.TempDir(), MaxBytes: 16 << 10})
	l := listen(t, ingress, sp)
	door := &door{reg: l.reg}
	if status, _ := l.post(t, ended); status != 200 {
		t.Fatalf("status %d while there is room", status)
	}
	limit(1)
	var answered []string
	for i := 0; ; i++ {
		body := fmt.Sprintf(`{"event":"speak_completed","reference_id":"call-%d"}`, i)
		began := time.Now()
		status, answer := l.post(t, body)
		if took := time.Since(began); took > wide.AnswerWithin {
			t.Errorf("answered after %v", took)
		}
		if status == 503 {
			break
		}
		if status != 200 || !strings.Contains(answer, "One moment") {
			t.Fatalf("%d %s", status, answer)
		}
		if answered = append(answered, body); i > 1000 {
			t.Fatal("16 KiB of spool are never full")
		}
	}
	if len(answered) < 5 {
		t.Errorf("the spool took only %d", len(answered))
	}
	eventually(t, "the 503 in the metrics", func() bool { // it is counted once it has left
		return door.metric(t, "offhook_webhook_answers_total", "outcome=unstored") == 1
	})
	limit(-1)
	eventually(t, "an empty spool", sp.Empty)
	deliveries := make(chan bus.Delivery, 1000)
	worker(t, connect(t, server, "worker"), func(d bus.Delivery) *messages.Reply {
		deliveries <- d
		return nil
	})
	var got []string
	for _, d := range seen(t, deliveries, 1+2*len(answered)) {
		if d.Event == "speak_completed" && d.Kind == messages.KindEvent {
			got = append(got, string(d.Body))
		}
	}
	if !slices.Equal(got, answered) {
		t.Errorf("the stream has\n%q\nwant\n%q", got, answered)
	}
}
