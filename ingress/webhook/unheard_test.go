package webhook

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/messages"
)

// wire is a door on a real socket and one connection to it.
type wire struct {
	*door
	tcp  *net.TCPConn
	conn io.ReadWriteCloser // tcp, or TLS over it
	end  func()             // ends Run, and with it every report; may be called again
}

func newWire(t *testing.T, b *fakeBus, secure bool) *wire {
	t.Helper()
	cfg := wide
	if secure {
		cfg.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, 1)}}
	}
	w := &wire{door: newDoor(t, cfg, b)}
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		defer close(done)
		done <- w.Run(ctx, ln)
	}()
	w.end = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	t.Cleanup(w.end)
	conn, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // local
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	w.tcp, w.conn = conn.(*net.TCPConn), conn
	if secure {
		w.conn = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its own
	}
	return w
}

// sees waits until a metric has a value.
func (w *wire) sees(t *testing.T, want float64, name string, labels ...string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); w.metric(t, name, labels...) != want; <-tick.C {
		if time.Now().After(end) {
			t.Fatalf("%s%v is %v, want %v", name, labels, w.metric(t, name, labels...), want)
		}
	}
}

// send writes a request and waits until its answer is in the kernel's hands.
func (w *wire) send(t *testing.T, request []byte) {
	t.Helper()
	before := w.metric(t, "offhook_webhook_answers_total")
	if _, err := w.conn.Write(request); err != nil {
		t.Fatal(err)
	}
	w.sees(t, before+1, "offhook_webhook_answers_total")
}

// reset closes the connection as a peer that has crashed does.
func (w *wire) reset(t *testing.T) {
	t.Helper()
	if err := w.tcp.SetLinger(0); err != nil {
		t.Fatal(err)
	}
	w.tcp.Close()
}

// Edge case 27: the kernel took a worker's decision and the connection breaks before
// the other side has read it. That is reported, once; an answer that was read is not.
func TestResetAfterTheAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reply messages.Reply
		then  func(t *testing.T, w *wire)
		want  float64 // reports of unknown, and broken answers
	}{
		"reset":            {reply: decided, then: func(t *testing.T, w *wire) { w.reset(t) }, want: 1},
		"closed unread":    {reply: decided, then: func(_ *testing.T, w *wire) { w.tcp.Close() }, want: 1},
		"reset after hold": {reply: holds, then: func(t *testing.T, w *wire) { w.reset(t) }},
		"closed once it was read": {reply: decided, then: func(t *testing.T, w *wire) {
			read(t, bufio.NewReader(w.conn))
			w.conn.Close()
		}},
		"reset after the next request": {reply: decided, then: func(t *testing.T, w *wire) {
			r := bufio.NewReader(w.conn)
			read(t, r)
			if _, err := io.WriteString(w.conn, "GET /next HTTP/1.1\r\nHost: offhook.example.com\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if res, _ := read(t, r); res.StatusCode != http.StatusNotFound {
				t.Errorf("the next request: %s", res.Status)
			}
			w.reset(t)
		}},
		"reset after the next answer": {reply: decided, then: func(t *testing.T, w *wire) {
			read(t, bufio.NewReader(w.conn))
			w.send(t, onWire(t, named("speak_completed")))
			w.reset(t)
		}, want: 1},
	} {
		for _, secure := range []bool{false, true} {
			if secure && name == "closed unread" {
				continue // no different from a reset
			}
			t.Run(fmt.Sprintf("%s, TLS %t", name, secure), func(t *testing.T) {
				t.Parallel()
				w := newWire(t, &fakeBus{script: script{reply: c.reply}}, secure)
				w.send(t, onWire(t, incoming))
				c.then(t, w)
				w.sees(t, 0, "offhook_webhook_connections")
				w.end()
				if got := w.metric(t, "offhook_webhook_told_total", "answer=unknown"); got != c.want {
					t.Errorf("%v reports, want %v", got, c.want)
				}
				if got := w.metric(t, "offhook_webhook_broken_answers_total"); got != c.want {
					t.Errorf("%v broken answers, want %v", got, c.want)
				}
				if c.want == 0 {
					return
				}
				last := w.bus.asked[len(w.bus.asked)-1]
				told, err := messages.ParseTold(w.bus.told[0].Body)
				if want := (messages.Told{EventID: last.EventID, Answer: messages.ToldUnknown, Reason: wasReset}); err != nil || told != want {
					t.Errorf("told %+v, %v; want %+v", told, err, want)
				}
			})
		}
	}
}

// A reset while the worker still decides fails the write: one report, not one of
// the handler and one of the connection.
func TestResetBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	w := newWire(t, &fakeBus{script: script{replyAt: 100 * time.Millisecond, reply: decided}}, false)
	if _, err := w.conn.Write(onWire(t, incoming)); err != nil {
		t.Fatal(err)
	}
	w.sees(t, 1, "offhook_webhook_in_flight")
	w.reset(t)
	w.sees(t, 1, "offhook_webhook_answers_total")
	w.end()
	if got := w.metric(t, "offhook_webhook_told_total", "answer=unknown"); got != 1 {
		t.Errorf("%v reports, want 1", got)
	}
	if got := w.metric(t, "offhook_webhook_broken_answers_total"); got != 1 {
		t.Errorf("%v broken answers, want 1", got)
	}
}

// TestResetWatch has the rules: what is a reset, how soon, how often, and what is
// a request.
func TestResetWatch(t *testing.T) {
	t.Parallel()
	reset := &net.OpError{Op: "read", Err: syscall.ECONNRESET}
	for name, c := range map[string]struct {
		alerts int
		after  time.Duration
		events func(*resetWatch)
		want   int
	}{
		"read":               {events: func(w *resetWatch) { w.came(0, reset) }, want: 1},
		"write":              {events: func(w *resetWatch) { w.came(0, syscall.EPIPE) }, want: 1},
		"both":               {events: func(w *resetWatch) { w.came(0, reset); w.came(0, syscall.EPIPE) }, want: 1},
		"end":                {events: func(w *resetWatch) { w.came(0, io.EOF) }},
		"closed here":        {events: func(w *resetWatch) { w.came(0, net.ErrClosed) }},
		"just in time":       {after: resetFor, events: func(w *resetWatch) { w.came(0, reset) }, want: 1},
		"long after":         {after: resetFor + 1, events: func(w *resetWatch) { w.came(0, reset) }},
		"after a byte":       {events: func(w *resetWatch) { w.came(1, nil); w.came(0, reset) }},
		"after an alert":     {alerts: maxAlert, events: func(w *resetWatch) { w.came(24, nil); w.came(0, reset) }, want: 1},
		"after a TLS record": {alerts: maxAlert, events: func(w *resetWatch) { w.came(5, nil); w.came(200, nil); w.came(0, reset) }},
		"not written":        {events: func(w *resetWatch) { w.failed(); w.came(0, reset) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, lost := &resetWatch{alerts: c.alerts}, 0
				w.came(500, nil) // the request
				w.answering(func() { lost++ })
				<-time.After(c.after)
				c.events(w)
				if lost != c.want {
					t.Errorf("lost %d times, want %d", lost, c.want)
				}
			})
		})
	}
}

// TestRunWaitsForReports: a report that follows a 503 is stored before Run returns,
// or given up a margin after the stop.
func TestRunWaitsForReports(t *testing.T) {
	t.Parallel()
	const margin = time.Second
	for name, c := range map[string]struct {
		tell  time.Duration
		after time.Duration
		told  int
	}{
		"in time": {tell: margin - 1, after: margin - 1, told: 1},
		"never":   {tell: never, after: margin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := run(t, Config{AnswerWithin: 20 * time.Second, AnswerMargin: margin}, &fakeBus{script: script{stored: errFull}, tell: slowTell(c.tell)})
				conn := d.ln.dial(t)
				send(conn, onWire(t, incoming))
				if res, _ := read(t, bufio.NewReader(conn)); res.StatusCode != http.StatusServiceUnavailable {
					t.Errorf("%s", res.Status)
				}
				conn.Close()
				synctest.Wait()
				began := time.Now()
				d.end(t)
				if took := time.Since(began); took != c.after {
					t.Errorf("Run returned %v after the stop, want %v", took, c.after)
				}
				if len(d.bus.told) != c.told {
					t.Errorf("%d reports, want %d", len(d.bus.told), c.told)
				}
			})
		})
	}
}

// TestReportsAreLimited: a stream that hangs does not collect reports without end.
func TestReportsAreLimited(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{MaxInFlight: 3}, &fakeBus{script: script{stored: errFull}, tell: slowTell(time.Second)})
		for range 5 {
			if w := d.post(signed(t, incoming)); w.Code != http.StatusServiceUnavailable {
				t.Errorf("status %d", w.Code)
			}
		}
		d.reports.close()
		if len(d.bus.told) != 3 {
			t.Errorf("%d reports, want 3", len(d.bus.told))
		}
	})
}

// TestCrowd: over MaxInFlight no worker is waited for, and with a spool nobody is
// refused who can be kept.
func TestCrowd(t *testing.T) {
	t.Parallel()
	const event, told = "spool event incoming_call", "spool told incoming_call"
	for name, c := range map[string]struct {
		event   string
		away    bool
		disk    func(context.Context) error
		tell    func(context.Context, messages.Envelope) error
		status  int
		outcome outcome
		journal []string
		holds   float64
	}{
		"an event":            {event: incoming, status: 200, outcome: outcomeSpooled, journal: []string{event, told, "answer 200"}, holds: 1},
		"NATS is away":        {event: incoming, away: true, status: 200, outcome: outcomeSpooled, journal: []string{event, told, "answer 200"}, holds: 1},
		"the spool is full":   {event: incoming, disk: diskFull, status: 200, outcome: outcomeSpooled, journal: []string{"tell event incoming_call", "tell told incoming_call", "answer 200"}, holds: 1},
		"both refuse":         {event: incoming, disk: diskFull, tell: tellFails, status: 503, outcome: outcomeUnstored, journal: []string{"answer 503"}},
		"the end of a call":   {event: ended, status: 200, outcome: outcomeStored, journal: []string{"tell event call_completed", "answer 200"}},
		"the end, NATS away":  {event: ended, away: true, status: 200, outcome: outcomeStored, journal: []string{"spool event call_completed", "answer 200"}},
		"a dial not answered": {event: dialled("busy"), status: 200, outcome: outcomeSpooled, journal: []string{"spool event dial_completed", "spool told dial_completed", "answer 200"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, Config{MaxInFlight: 1}, &fakeBus{script: script{reply: decided}, tell: c.tell, spool: &fakeSpool{disk: c.disk}})
				d.bus.away.Store(c.away)
				if !d.room.enter(messages.Envelope{EventID: "another"}) {
					t.Fatal("the room is full from the start")
				}
				w := httptest.NewRecorder()
				d.serve(context.Background(), journalled{w, d.bus}, signed(t, c.event))
				d.reports.close()
				if w.Code != c.status {
					t.Errorf("status %d, want %d", w.Code, c.status)
				}
				if !slices.Equal(d.bus.journal, c.journal) {
					t.Errorf("order of things %q, want %q", d.bus.journal, c.journal)
				}
				if got := d.metric(t, "offhook_webhook_answers_total", "outcome="+string(c.outcome)); got != 1 {
					t.Errorf("outcome %s was counted %v times", c.outcome, got)
				}
				if got := d.metric(t, "offhook_webhook_holds_total", "reason=crowded"); got != c.holds {
					t.Errorf("%v holds, want %v", got, c.holds)
				}
				if got := d.metric(t, "offhook_webhook_in_flight"); got != 1 {
					t.Errorf("%v in flight, want the other one", got)
				}
			})
		})
	}
}
