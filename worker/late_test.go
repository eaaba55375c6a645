package worker_test

import (
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/store/redistest"
)

// A store that is stopped, or killed and back from its AOF, under live calls: callers
// are put on hold at once and hear where they were afterwards; nothing is lost, stepped
// twice or parked, and no delivery is used up.
func TestStoreOutageUnderCalls(t *testing.T) {
	t.Parallel()
	outages := map[string]struct {
		begin, end func(*redistest.Server, testing.TB)
	}{
		"paused": {(*redistest.Server).Pause, (*redistest.Server).Resume},
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorldOn(t, server.URL()) // with the store's own time limits
			workers := make([]*process, 2)
			var log lockedBuffer
			defer func() { t.Logf("log:\n%s", &log) }()
			for i := range workers {
				workers[i] = w.start(plan{store: w.openStore(server.URL()), bus: w.connect(w.nats.URL()), log: textLog(&log)})
				workers[i].consume()
			}
			const calls = 30
			lives := make([]*live, calls)
			for i := range lives {
				lives[i] = w.newLive(w.bus)
				lives[i].decided = make(chan struct{}, 1)
			}
			failed := make(chan error, calls)
			var playing sync.WaitGroup
			begin := make(chan struct{})
			for i, l := range lives {
				playing.Go(func() {
					if i%3 == 0 { // a third begin while the store is away
						<-begin
					}
					if err := l.play(within(t), 300*time.Millisecond); err != nil {
						failed <- err
					}
				})
			}
			receive(t, "the first answer", lives[1].decided)
			outage.begin(server, t)
			close(begin)
			for _, p := range workers {
				eventually(t, "the worker knows that the store is away", p.events.StoreAway)
			}
			// From here on nobody waits for the store, whose silence is noticed after 700 ms.
			fresh, fastest := w.newCaller(), patience
			for range 10 {
				asked := time.Now()
				fresh.wantHold(fresh.ask(fresh.envelope("dial_completed answered")), "a new call", "unavailable")
				fastest = min(fastest, time.Since(asked))
			}
			if fastest > 500*time.Millisecond {
				t.Errorf("the fastest hold took %s, want it at once", fastest)
			}
			outage.end(server, t)
			ended := time.Now()
			playing.Wait()
			t.Logf("the last call ended %s after the outage", time.Since(ended))
			close(failed)
			for err := range failed {
				t.Error(err)
			}
			slowest, holds, deferred := time.Duration(0), 0, 0
			for _, l := range lives {
				l.wantWhole()
				holds += len(l.holds)
				for _, took := range l.holds {
					slowest = max(slowest, took)
				}
			}
			t.Logf("%d holds, the slowest after %s", holds, slowest)
			if holds == 0 || slowest > 2500*time.Millisecond {
				t.Errorf("%d holds, the slowest after %s", holds, slowest)
			}
			if f := w.failures(); len(f) != 0 {
				t.Errorf("failures: %+v", f)
			}
			for i, p := range workers {
				deferred += p.count("offhook_worker_deferred_total")
				// One for what the late lane had asked for when the store went, and some for
				// what a busy machine leaves too long; of 20.
				if most, s := p.most.Load(), p.bus.Stats(); most > 10 || s.Parked != 0 {
					t.Errorf("worker %d: %d deliveries of one message: %+v", i, most, s)
				}
			}
			if deferred < holds {
				t.Errorf("%d deferred, %d holds", deferred, holds)
			}
			w.wantDecisionsAgain()
		})
	}
}

// wantDecisionsAgain wants the late lane to be drained, and a new call to be decided.
func (w *world) wantDecisionsAgain() {
	w.t.Helper()
	eventually(w.t, "the late lane is drained", func() bool {
		lag, err := w.bus.Lag(within(w.t))
		return err == nil && lag.Late == 0
	})
	c := w.place()
	eventually(w.t, "new calls are decided", func() bool {
		return string(c.ask(c.envelope("dial_completed answered")).Action) == hello
	})
}

// What comes while the late lane has events of its partition joins its tail, so that a
// call's events are stepped in order; then the calls go on.
func TestEventsJoinTheLateLane(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	first := w.delivery(c.envelope("dial_completed answered"))
	noError(t, p.bus.Defer(within(t), first))

	second := w.delivery(c.envelope("speak_completed 1"))
	report := w.delivery(c.told(second.Envelope, "hold"))
	report.ReplyTo = "" // nobody waits for an answer to a report
	result, replies := p.handle(second)
	if result != bus.Done() || len(replies) != 1 {
		t.Fatalf("%+v, replies %+v", result, replies)
	}
	c.wantHold(replies[0], second.Event, "late lane")
	if result := p.events.Handle(within(t), report); result != bus.Done() {
		t.Fatalf("the report: %+v", result)
	}
	if stored, _, _ := w.state(c.id); stored.Revision != 0 {
		t.Errorf("stepped ahead of the late lane: revision %d", stored.Revision)
	}
	if n := p.count("offhook_worker_deferred_total", "late_lane"); n != 2 {
		t.Errorf("%d deferred", n)
	}
	p.consume()
	c.awaitLogged(report.Envelope)
	_, state, log := w.state(c.id)
	for i, d := range []bus.Delivery{first, second, report} {
		if log[i].ID != d.EventID || log[i].Seq != d.Sequence || log[i].Live {
			t.Errorf("entry %d: %+v, want %s #%d", i, log[i], d.EventID, d.Sequence)
		}
	}
	if state.Step != "rating" || !state.Held {
		t.Errorf("step %q, held %v", state.Step, state.Held)
	}
	eventually(t, "the late lane is drained", func() bool { return !p.bus.LateWaiting(c.id) })
	_, replies = p.handle(w.delivery(c.envelope("speak_completed")))
	c.wantAction(replies[0], "the end of the hold", rating)
}

// A late lane that finds the store away does not wait for it, and is not fetched from
// again until it is back. Also a store that answers, and refuses writes, is away.
func TestStoreAwayInTheLateLane(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	w := newWorldOn(t, server.URL())
	client := w.redisClient()
	defer func() { _ = client.Close() }()
	outages := []struct {
		name       string
		begin, end func() error
	}{
		{"a replica", func() error { return client.ReplicaOf(within(t), "127.0.0.1", "1").Err() }, func() error { return client.ReplicaOf(within(t), "no", "one").Err() }},
		{"full", func() error { return client.ConfigSet(within(t), "maxmemory", "1").Err() }, func() error { return client.ConfigSet(within(t), "maxmemory", "0").Err() }},
		{"gone", func() error { server.Kill(t); return nil }, func() error { server.Restart(t); return nil }},
	}
	for _, outage := range outages {
		p := w.start(plan{bus: w.connect(w.nats.URL())})
		stop := p.consume()
		c := w.place()
		noError(t, outage.begin())
		events := []bus.Delivery{w.delivery(c.envelope("dial_completed answered")), w.delivery(c.envelope("speak_completed 1"))}
		for _, d := range events {
			noError(t, p.bus.Defer(within(t), d))
		}
		eventually(t, outage.name+" is noticed", p.events.StoreAway)
		direct := events[0]
		direct.ReplyTo, direct.Deferred = "", true
		for range 100 {
			wantRetry(t, p.events.HandleLate(within(t), direct))
		}
		// Ten more questions of the breaker's: it is not taken in by answers.
		asked := 0
		for range 10 {
			before := p.events.Probes()
			eventually(t, "the store is asked", func() bool { return p.events.Probes() > before || !p.events.StoreAway() })
			if !p.events.StoreAway() {
				t.Fatalf("%s: taken for well after %d questions", outage.name, asked)
			}
			asked++
		}
		noError(t, outage.end())
		c.awaitLogged(events[1].Envelope)
		if _, state, log := w.state(c.id); len(log) != 2 || state.Step != "rating" || log[0].ID != events[0].EventID {
			t.Errorf("%s: %d entries, step %q", outage.name, len(log), state.Step)
		}
		// 100 by hand; the lane's own were handed back at most once each.
		if n := p.count("offhook_worker_retries_total"); n > 100+len(events) {
			t.Errorf("%s: %d deliveries handed back", outage.name, n)
		}
		stop()
	}
	if f := w.failures(); len(f) != 0 {
		t.Errorf("failures: %+v", f)
	}
}
