package webhook

import (
	"context"
	"errors"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/messages"
)

// Which words of other doors are heeded, and for how long.
func TestPeers(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	t.Run("nothing was ever heard", func(t *testing.T) {
		t.Parallel()
		var p peers
		if p.behind(start, time.Time{}) {
			t.Error("held for the sake of nobody")
		}
	})
	t.Run("a word counts for a moment", func(t *testing.T) {
		t.Parallel()
		var p peers
		if !p.behind(at(heedFor), start) {
			t.Error("a fresh word is not heeded")
		}
		if p.behind(at(heedFor+1), start) {
			t.Error("an old word is heeded")
		}
	})
	t.Run("a door that never stops is not heeded for ever", func(t *testing.T) {
		t.Parallel()
		var p peers
		var heeded time.Duration
		for d := time.Duration(0); d < 2*heedMost; d += sayEvery {
			if p.behind(at(d), at(d)) {
				heeded = d
			}
		}
		if heeded < heedMost-sayEvery || heeded >= heedMost {
			t.Errorf("heeded for %v, want %v", heeded, heedMost)
		}
		again := 2*heedMost + 3*heedFor // after a silence
		if !p.behind(at(again), at(again)) {
			t.Error("a later outage is not heeded")
		}
	})
	t.Run("back from an outage", func(t *testing.T) {
		t.Parallel()
		var p peers
		p.back(start)
		if !p.behind(at(settleFor-1), time.Time{}) || p.behind(at(settleFor), time.Time{}) {
			t.Error("it does not settle for as long as it should")
		}
	})
}

// A door that has emptied its spool holds callers until the others can have said what
// they have, and as long as they say that there is more.
func TestHoldsWhileOthersDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &fakeBus{spool: &fakeSpool{kept: waiting("a")}, script: script{reply: decided}}
		b.away.Store(true)
		d := run(t, Config{}, b)
		<-time.After(time.Second)
		b.away.Store(false)
		answered := func() string {
			w := httptest.NewRecorder()
			d.serve(context.Background(), w, signed(t, incoming))
			synctest.Wait()
			return w.Body.String()
		}
		<-time.After(connectedPoll + time.Millisecond)
		if len(b.spool.all()) != 0 {
			t.Fatal("the spool is not empty")
		}
		if got := answered(); got == decision {
			t.Error("decided before the others can have said anything")
		}
		<-time.After(settleFor)
		now := time.Now()
		b.heard.Store(&now)
		if got := answered(); got == decision {
			t.Error("decided while another door has earlier events")
		}
		<-time.After(heedFor + time.Millisecond)
		if got := answered(); got != decision {
			t.Errorf("answered %s, want the decision", got)
		}
	})
}

// Others are told of what waits since an outage, not of what only passes through.
func TestSaysWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var takes atomic.Bool
		b := &fakeBus{spool: &fakeSpool{}, script: script{reply: decided}}
		b.tell = func(context.Context, messages.Envelope) error {
			if !takes.Load() {
				return errors.New("the stream is full")
			}
			return nil
		}
		run(t, Config{}, b)
		if err := b.spool.Append(context.Background(), waiting("a")...); err != nil {
			t.Fatal(err)
		}
		<-time.After(sayAfter - sayEvery)
		synctest.Wait()
		if n := b.said.Load(); n != 0 {
			t.Errorf("said %d times that an event waits that has just come", n)
		}
		<-time.After(time.Second)
		synctest.Wait()
		if b.said.Load() < 5 {
			t.Errorf("said %d times in a second that events wait", b.said.Load())
		}
		takes.Store(true)
		<-time.After(drainMost + time.Second)
		synctest.Wait()
		silent := b.said.Load()
		<-time.After(time.Second)
		synctest.Wait()
		if b.said.Load() != silent {
			t.Error("it goes on saying so when the spool is empty")
		}
	})
}
