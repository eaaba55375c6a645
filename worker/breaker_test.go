package worker_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/worker"
)

var errAway = errors.New("connection refused")

// breaker is an outage whose store is back when the test says so.
type breaker struct {
	*worker.Outage
	log   lockedBuffer
	asked []time.Time // when it was asked
	well  atomic.Bool // it answers
	stop  func()
}

func startBreaker(t *testing.T) *breaker {
	t.Helper()
	b := &breaker{}
	b.Outage = worker.NewOutage(func(context.Context) error {
		b.asked = append(b.asked, time.Now())
		if b.well.Load() {
			return nil
		}
		return errAway
	}, worker.NewMetrics(prometheus.NewRegistry()), textLog(&b.log))
	b.run(t)
	return b
}

// run starts what probes; b.stop ends it.
func (b *breaker) run(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); b.Run(ctx) }()
	b.stop = func() { cancel(); <-done }
}

// However many fail, the store is asked a few times a second, and one line says that
// it went, one that it came back.
func TestOutageIsFoundOutOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startBreaker(t)
		defer func() { b.stop() }()
		if b.Away() || b.Wait(t.Context()) != nil {
			t.Fatal("a store that has not failed is away")
		}
		for range 1000 {
			b.Trip(b.Begun(), errAway)
		}
		if !b.Away() {
			t.Fatal("a store that failed is not away")
		}
		began := time.Now()
		waited := make(chan time.Duration, 2)
		for range cap(waited) {
			go func() {
				if err := b.Wait(t.Context()); err != nil {
					t.Error(err)
				}
				waited <- time.Since(began)
			}()
		}
		time.AfterFunc(10*time.Second, func() { b.well.Store(true) })
		for range cap(waited) {
			if took := <-waited; took < 10*time.Second || took > 10*time.Second+250*time.Millisecond {
				t.Errorf("waited %s for a store that was away for 10s", took)
			}
		}
		if b.Away() {
			t.Error("still away")
		}
		if n := len(b.asked); n < 40 || n > 100 || b.asked[0] != began {
			t.Errorf("asked %d times in 10s, first after %s; want at once, then 4 to 10 a second", n, b.asked[0].Sub(began))
		}
		if text := b.log.String(); strings.Count(text, "\n") != 2 || !strings.Contains(text, "store is away") || !strings.Contains(text, "store is back") {
			t.Errorf("log:\n%s", text)
		}
	})
}

// What failed because it had begun before the store came back says nothing about now.
func TestOldFailuresDoNotTrip(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startBreaker(t)
		defer func() { b.stop() }()
		slow := b.Begun()
		b.well.Store(true)
		b.Trip(b.Begun(), errAway)
		synctest.Wait()
		if b.Away() {
			t.Fatal("a store that answers is away")
		}
		if b.Trip(slow, errAway); b.Away() {
			t.Error("a failure from before the return trips")
		}
		if b.Trip(b.Begun(), errAway); !b.Away() {
			t.Error("a failure from after the return does not trip")
		}
	})
}

// A store that answers the probe and fails those who use it is left alone for longer
// and longer, until it has been well for a while.
func TestFlappingStoreIsLeftAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startBreaker(t)
		defer func() { b.stop() }()
		b.well.Store(true)
		away := func() time.Duration {
			began := time.Now()
			b.Trip(b.Begun(), errAway)
			if err := b.Wait(t.Context()); err != nil {
				t.Error(err)
			}
			return time.Since(began)
		}
		var total time.Duration
		last := time.Duration(-1)
		for range 8 {
			d := away()
			if d < last || d > 5*time.Second {
				t.Errorf("away for %s after %s", d, last)
			}
			last, total = d, total+d
		}
		if last != 5*time.Second || total < 10*time.Second {
			t.Errorf("8 outages in a row: %s, the last %s", total, last)
		}
		<-time.After(3 * time.Second)
		if d := away(); d != 0 {
			t.Errorf("after 3s without a failure it is asked after %s", d)
		}
	})
}

// Those who wait leave with their context, and whoever runs next finds the outage
// where it was left.
func TestWaitingEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := startBreaker(t)
		b.Trip(b.Begun(), errAway)
		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, errAway)
		defer cancel()
		if err := b.Wait(ctx); !errors.Is(err, errAway) {
			t.Errorf("waiting ended with %v", err)
		}
		b.stop()
		b.well.Store(true)
		b.run(t)
		synctest.Wait()
		if b.Away() || b.Wait(t.Context()) != nil {
			t.Error("still away after another run")
		}
		b.stop()
	})
}
