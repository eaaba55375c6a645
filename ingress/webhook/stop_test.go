package webhook

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/messages"
)

// TestGracefulStop lets the event in flight have its decision, takes no new
// connection meanwhile, and says whom it waits for.
func TestGracefulStop(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := run(t, Config{}, &fakeBus{script: script{replyAt: 2 * time.Second, reply: decided}})
		waiting, idle := d.ln.dial(t), d.ln.dial(t)
		send(waiting, onWire(t, incoming))
		synctest.Wait()
		if d.Draining() {
			t.Error("draining before the end")
		}
		d.stop()
		synctest.Wait()
		if !d.Draining() {
			t.Error("not draining after the end has begun")
		}
		select {
		case <-d.ln.closed:
		default:
			t.Error("the listener still takes connections")
		}
		if log := d.log.String(); !strings.Contains(log, "waiting_for=1") || !strings.Contains(log, "534e1848-235f-482d-983d-e3e11a04f58a") {
			t.Errorf("it is not said who is waited for:\n%s", log)
		}
		res, body := read(t, bufio.NewReader(waiting))
		if res.StatusCode != 200 || body != decision || !res.Close {
			t.Errorf("%s, close %t: %s", res.Status, res.Close, body)
		}
		idle.Close()
		if err := <-d.done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if len(d.bus.told) != 0 {
			t.Errorf("journal %q", d.bus.journal)
		}
	})
}

// TestHardStop gives whoever still waits after Config.Drain the fallback, with its
// report, or a 503; it waits for nothing that may never come.
func TestHardStop(t *testing.T) {
	t.Parallel()
	const drain, margin = time.Second, 2 * time.Second
	for name, c := range map[string]struct {
		event  string
		bus    *fakeBus
		status int
		after  time.Duration
	}{
		"no reply":                   {incoming, &fakeBus{script: script{replyAt: never}}, 200, drain},
		"no acknowledgement":         {incoming, &fakeBus{script: script{storedAt: never, replyAt: never}}, 503, drain},
		"end of a call not stored":   {ended, &fakeBus{tell: slowTell(never)}, 503, drain + margin},
		"report of the stop late":    {incoming, &fakeBus{script: script{replyAt: never}, tell: slowTell(margin - 1)}, 200, drain + margin - 1},
		"report of the stop never":   {incoming, &fakeBus{script: script{replyAt: never}, tell: slowTell(never)}, 503, drain + margin},
		"report of a hold under way": {incoming, &fakeBus{script: script{reply: holds}, tell: slowTell(never)}, 503, drain + margin},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := run(t, Config{AnswerWithin: 20 * time.Second, AnswerMargin: margin, Drain: drain}, c.bus)
				conn := d.ln.dial(t)
				defer conn.Close()
				send(conn, onWire(t, c.event))
				synctest.Wait()
				began := time.Now()
				d.stop()
				res, body := read(t, bufio.NewReader(conn))
				if res.StatusCode != c.status {
					t.Errorf("%s: %s", res.Status, body)
				}
				if took := time.Since(began); took != c.after {
					t.Errorf("answered %v after the stop, want %v", took, c.after)
				}
				if c.status == 200 {
					checkTold(t, d.bus, messages.Told{Answer: messages.ToldHold, Reason: errStopping.Error()})
				}
				if err := <-d.done; err != nil {
					t.Errorf("Run: %v", err)
				}
			})
		})
	}
}

// TestCutOff ends although a client does not take its answer, or does not end its
// request, and says that somebody was cut off.
func TestCutOff(t *testing.T) {
	t.Parallel()
	request := onWire(t, incoming)
	for name, sent := range map[string][]byte{"deaf": request, "half a body": request[:len(request)-10], "half a header": request[:60]} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := run(t, Config{
					Drain: time.Second, AnswerMargin: time.Second,
					ReadHeaderTimeout: time.Hour, ReadTimeout: time.Hour, WriteTimeout: time.Hour,
				}, &fakeBus{script: script{reply: decided}})
				conn := d.ln.dial(t)
				defer conn.Close()
				send(conn, sent)
				synctest.Wait()
				began := time.Now()
				d.stop()
				if err := <-d.done; err == nil || !strings.Contains(err.Error(), "cut off") {
					t.Errorf("Run: %v, want it to say that connections were cut off", err)
				}
				if took := time.Since(began); took != 3*time.Second {
					t.Errorf("the end took %v, want Drain and twice AnswerMargin", took)
				}
				if n, c := d.metric(t, "offhook_webhook_in_flight"), d.metric(t, "offhook_webhook_connections"); n != 0 || c != 0 {
					t.Errorf("%v in flight and %v connections after the end", n, c)
				}
			})
		})
	}
}

// TestEndsLast: Run outlasts every handler, also one that nothing can hurry.
func TestEndsLast(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		stubborn := func(_ context.Context, env messages.Envelope) error {
			return slowTell(time.Minute)(context.Background(), env)
		}
		d := run(t, Config{Drain: time.Second}, &fakeBus{script: script{reply: holds}, tell: stubborn})
		conn := d.ln.dial(t)
		defer conn.Close()
		send(conn, onWire(t, incoming))
		synctest.Wait()
		began := time.Now()
		d.stop()
		if err := <-d.done; err == nil {
			t.Error("nobody was cut off, it says")
		}
		if took := time.Since(began); took != time.Minute {
			t.Errorf("Run returned %v after the stop, the handler after a minute", took)
		}
	})
}

// TestRunAgain starts and stops one door many times.
func TestRunAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
		for range 20 {
			ctx, cancel := context.WithCancel(context.Background())
			ln, done := newPipeListener(), make(chan error)
			go func() { done <- d.Run(ctx, ln) }()
			c := ln.dial(t)
			send(c, onWire(t, incoming))
			if res, _ := read(t, bufio.NewReader(c)); res.StatusCode != 200 {
				t.Errorf("%s", res.Status)
			}
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		}
	})
}

// TestStoppedBeforeItRuns returns at once and closes the listener.
func TestStoppedBeforeItRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{}, &fakeBus{})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		ln := newPipeListener()
		if err := d.Run(ctx, ln); err != nil {
			t.Errorf("Run: %v", err)
		}
		<-ln.closed
	})
}

// brokenListener fails.
type brokenListener struct{ *pipeListener }

var errBroken = errors.New("too many open files")

func (brokenListener) Accept() (net.Conn, error) { return nil, errBroken }

// TestListenerFails ends Run with what went wrong.
func TestListenerFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{}, &fakeBus{})
		if err := d.Run(context.Background(), brokenListener{newPipeListener()}); !errors.Is(err, errBroken) {
			t.Errorf("Run: %v, want %v", err, errBroken)
		}
		if !d.Draining() {
			t.Error("it says that it is still serving")
		}
	})
}
