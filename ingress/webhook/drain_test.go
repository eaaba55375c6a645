package webhook

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/messages"
)

// waiting are envelopes of a spool, with an event id each.
func waiting(ids ...string) []messages.Envelope {
	var envs []messages.Envelope
	for _, id := range ids {
		envs = append(envs, messages.Envelope{Kind: messages.KindEvent, EventID: id, CallID: "call", Event: "incoming_call", Arrived: micros(time.Now()), Deadline: time.Now()})
	}
	return envs
}

func ids(envs []messages.Envelope) string {
	var s []string
	for _, env := range envs {
		s = append(s, env.EventID)
	}
	return strings.Join(s, " ")
}

// TestDrain moves what an earlier process left, in order, once NATS is there, and
// lets live events join the tail until then.
func TestDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBus{spool: &fakeSpool{kept: waiting("a", "b", "c"), batch: 2}, script: script{reply: decided}}
		b.away.Store(true)
		d := run(t, Config{}, b)
		conn := d.ln.dial(t)
		r := bufio.NewReader(conn)
		send(conn, onWire(t, incoming))
		if res, body := read(t, r); res.StatusCode != 200 || !strings.Contains(body, "One moment") {
			t.Errorf("%s: %s", res.Status, body)
		}
		<-time.After(time.Minute)
		if len(b.sequence()) != 0 || len(b.spool.all()) != 5 {
			t.Errorf("%d in the stream, %d in the spool while NATS is away", len(b.sequence()), len(b.spool.all()))
		}
		live := b.spool.all()[3].EventID
		b.away.Store(false)
		<-time.After(connectedPoll)
		synctest.Wait()
		if got := ids(b.sequence()); !strings.HasPrefix(got, "a b c "+live+" ") || len(b.sequence()) != 5 || len(b.spool.all()) != 0 {
			t.Errorf("the stream has %s, the spool %s", got, ids(b.spool.all()))
		}
		for _, env := range b.sequence() {
			if !env.Late || env.ReplyTo != "" || !env.Deadline.IsZero() {
				t.Errorf("%+v is not late", env)
			}
		}
		<-time.After(settleFor)
		send(conn, onWire(t, incoming))
		if res, body := read(t, r); res.StatusCode != 200 || body != decision {
			t.Errorf("%s: %s", res.Status, body)
		}
		conn.Close()
		d.end(t)
	})
}

// TestDrainTriesAgain with growing delays while the stream refuses, publishes
// nothing twice that it knows to be stored, and parks what will never be taken.
func TestDrainTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // of tries
		var tries []time.Time
		var free atomic.Bool
		b := &fakeBus{spool: &fakeSpool{kept: waiting("a", "huge", "b", "c", "d")}}
		b.tell = func(_ context.Context, env messages.Envelope) error {
			switch env.EventID {
			case "huge":
				return messages.Errorf(messages.CodeTooLarge, "over the limit")
			case "c":
				mu.Lock()
				tries = append(tries, time.Now())
				mu.Unlock()
				if !free.Load() {
					return errFull
				}
			}
			return nil
		}
		d := run(t, Config{}, b)
		<-time.After(time.Minute)
		synctest.Wait()
		if got := ids(b.sequence()); got != "a b" {
			t.Errorf("the stream has %q, want a b", got)
		}
		mu.Lock()
		if n := len(tries); n < 20 || n > 80 {
			t.Errorf("tried %d times in a minute", n)
		}
		for i := range tries[1:] {
			if pause := tries[i+1].Sub(tries[i]); pause > 2*drainMost || pause < drainFirst/2 {
				t.Errorf("pause %d is %v", i, pause)
			}
		}
		mu.Unlock()
		free.Store(true)
		<-time.After(2 * drainMost)
		synctest.Wait()
		if got := ids(b.sequence()); got != "a b c d" || !b.spool.Empty() {
			t.Errorf("the stream has %q, the spool %q", got, ids(b.spool.all()))
		}
		if len(b.parked) != 1 {
			t.Fatalf("parked %d, want one", len(b.parked))
		}
		f := b.parked[0]
		env, err := messages.ParseEnvelope(f.Header, f.Body)
		if err != nil || env.EventID != "huge" || f.Kind != messages.FailureEvent || f.Reason != messages.ReasonPoison || f.Subject != messages.EventSubject("call") || !strings.Contains(f.Error, "over the limit") {
			t.Errorf("parked %+v, %v", f, err)
		}
		if got := d.metric(t, "offhook_spool_parked_total"); got != 1 {
			t.Errorf("%v parked by the metrics", got)
		}
		if n := strings.Count(d.log.String(), "could not be emptied"); n < 2 || n > 8 {
			t.Errorf("%d log lines of one minute's trouble", n)
		}
		d.end(t)
	})
}

// TestDrainAtTheEnd: what was spooled by the last answers still gets to the stream
// in the time that is left; what does not is said to remain.
func TestDrainAtTheEnd(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		away   bool
		tell   func(context.Context, messages.Envelope) error
		after  time.Duration // Run's end, after the stop
		remain int
	}{
		"there is time":     {tell: slowTell(time.Second), after: 6 * time.Second},
		"there is not":      {tell: slowTell(never), after: 10 * time.Second, remain: 3},
		"NATS is away":      {away: true, after: 4 * time.Second, remain: 3},
		"the stream is bad": {tell: tellFails, after: 10 * time.Second, remain: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var stopped atomic.Bool
				b := &fakeBus{script: script{storedAt: 4 * time.Second, stored: errFull, replyAt: never}, spool: &fakeSpool{}}
				b.tell = func(ctx context.Context, env messages.Envelope) error {
					if !stopped.Load() {
						t.Error("published before there was anything")
					}
					return c.tell(ctx, env)
				}
				d := run(t, Config{AnswerWithin: 20 * time.Second, Drain: 10 * time.Second}, b)
				conn := d.ln.dial(t)
				defer conn.Close()
				send(conn, onWire(t, incoming))
				synctest.Wait()
				began := time.Now()
				stopped.Store(true)
				d.stop()
				synctest.Wait()
				b.away.Store(c.away)
				if res, body := read(t, bufio.NewReader(conn)); res.StatusCode != 200 {
					t.Errorf("%s: %s", res.Status, body)
				}
				if err := <-d.done; err != nil {
					t.Errorf("Run: %v", err)
				}
				if took := time.Since(began); took < c.after || took > c.after+time.Second/2 { // net/http looks now and then
					t.Errorf("the end took %v, want %v", took, c.after)
				}
				if got := len(b.spool.all()); (got != 0) != (c.remain != 0) {
					t.Errorf("%d remain", got)
				}
				if said := strings.Contains(d.log.String(), "remain in the spool"); said != (c.remain != 0) {
					t.Errorf("said what remains: %t\n%s", said, d.log)
				}
			})
		})
	}
}

// TestDrainKeepsOrder has live events of several calls come while the spool is
// emptied, batch by batch: in the stream each call's events stand in the order of
// their arrival, whichever way they took.
func TestDrainKeepsOrder(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var spooled, through int
		b := &fakeBus{script: script{reply: decided}, spool: &fakeSpool{kept: waiting("x", "y"), batch: 2}, tell: slowTell(time.Millisecond)}
		d := run(t, Config{}, b)
		var want []string
		for i := range 200 {
			call := fmt.Sprint("call-", i%5)
			b.away.Store(i%40 == 20)
			want = append(want, call+" "+fmt.Sprint(i))
			w := d.post(signed(t, fmt.Sprintf(`{"event":"play_completed","reference_id":"%s","data":{"n":%d}}`, call, i)))
			if w.Code != 200 {
				t.Fatalf("status %d", w.Code)
			}
			if w.Body.String() == decision {
				through++
			} else {
				spooled++
			}
			<-time.After(time.Duration(i%7) * time.Millisecond)
		}
		synctest.Wait()
		<-time.After(time.Second)
		var got []string
		for _, line := range b.sequence() {
			if line.Kind == messages.KindEvent && line.EventID != "x" && line.EventID != "y" {
				var n int
				if _, err := fmt.Sscanf(string(line.Body[strings.Index(string(line.Body), `"n":`):]), `"n":%d`, &n); err != nil {
					t.Fatal(err)
				}
				got = append(got, line.CallID+" "+fmt.Sprint(n))
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("the stream has\n%q\nwant\n%q", got, want)
		}
		if spooled == 0 || through == 0 {
			t.Errorf("%d took the spool and %d the stream; the test wants both", spooled, through)
		}
		d.end(t)
	})
}

var errStuck = errors.New("stuck")

// TestUnknown: when the connection does not take a worker's decision, that is
// reported, in the stream or the spool; when it does not take a hold, the report of
// the hold stands.
func TestUnknown(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reply   messages.Reply
		away    bool // from the moment of the answer
		tell    func(context.Context, messages.Envelope) error
		journal []string
		want    float64
	}{
		"to the stream":            {reply: decided, journal: []string{"ask incoming_call", "tell told incoming_call"}, want: 1},
		"to the spool, NATS away":  {reply: decided, away: true, journal: []string{"ask incoming_call", "spool told incoming_call"}, want: 1},
		"to the spool, refused":    {reply: decided, tell: tellFails, journal: []string{"ask incoming_call", "spool told incoming_call"}, want: 1},
		"not for a hold":           {reply: holds, journal: []string{"ask incoming_call", "tell told incoming_call"}},
		"the stream takes a while": {reply: decided, tell: slowTell(time.Second), journal: []string{"ask incoming_call", "tell told incoming_call"}, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, Config{}, &fakeBus{script: script{reply: c.reply}, tell: c.tell, spool: &fakeSpool{}})
				w := brokenWriter{discard{map[string][]string{}}, func() { d.bus.away.Store(c.away) }}
				d.serve(context.Background(), w, signed(t, incoming))
				if !slices.Equal(d.bus.journal, c.journal) {
					t.Errorf("order of things %q, want %q", d.bus.journal, c.journal)
				}
				report := append(d.bus.told, d.bus.spool.kept...)[0]
				told, err := messages.ParseTold(report.Body)
				want := messages.ToldHold
				if c.want == 1 {
					want = messages.ToldUnknown
				}
				if err != nil || told.Answer != want || told.EventID != d.bus.asked[0].EventID {
					t.Errorf("reported %+v, %v; want %s", told, err, want)
				}
				if got := d.metric(t, "offhook_webhook_told_total", "answer=unknown"); got != c.want {
					t.Errorf("%v unknown answers, want %v", got, c.want)
				}
				if got := d.metric(t, "offhook_webhook_broken_answers_total"); got != 1 {
					t.Errorf("%v broken answers, want 1", got)
				}
			})
		})
	}
}

// brokenWriter is a connection that is gone when the answer comes.
type brokenWriter struct {
	discard
	gone func()
}

func (w brokenWriter) Write([]byte) (int, error) {
	w.gone()
	return 0, errStuck
}
