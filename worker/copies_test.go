package worker_test

import (
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// I3: a hundred copies of one event at once, at several ingresses and workers: each is
// answered, with the same action, and one of them is stepped.
func TestHundredCopies(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	workers := make([]*process, 3)
	for i := range workers {
		workers[i] = w.start(plan{bus: w.connect(w.nats.URL())})
		workers[i].consume()
	}
	ingresses := []*bus.Bus{w.bus, w.connect(w.nats.URL()), w.connect(w.nats.URL())}
	c := w.place()
	for _, s := range []struct{ words, action string }{
		{"dial_completed answered", hello},
		{"speak_completed 1", rating},
		{"play_completed", again}, // nothing pressed: a copy that is stepped spends a try
	} {
		const copies = 100
		envs := make([]messages.Envelope, copies)
		for i := range envs {
			envs[i] = c.envelope(s.words)
		}
		replies := make([]messages.Reply, copies)
		took := make([]time.Duration, copies)
		start := make(chan struct{})
		var all sync.WaitGroup
		for i, env := range envs {
			all.Go(func() {
				<-start
				began := time.Now()
				replies[i] = c.askAt(ingresses[i%len(ingresses)], env)
				took[i] = time.Since(began)
			})
		}
		close(start)
		all.Wait()
		slowest := time.Duration(0)
		for i, r := range replies {
			c.wantAction(r, s.words, s.action)
			slowest = max(slowest, took[i])
		}
		t.Logf("%s: the slowest of %d copies took %s", s.words, copies, slowest)
	}
	c.say("speak_completed 4", thanks)
	c.say("speak_completed", hangup)
	c.say("call_completed", "{}")
	var r messages.Record
	eventually(t, "the last record", func() bool {
		for _, got := range c.records() {
			if got.Revision > r.Revision {
				r = got
			}
		}
		return len(r.Timeline) == 303
	})
	wantAnswers(t, r, map[string]string{"rating": "4 good"})
	kinds := map[string]int{}
	for _, m := range r.Timeline {
		kinds[m.Event+" "+m.Decision]++
	}
	for kind, want := range map[string]int{
		"dial_completed begun": 1, "dial_completed copy": 99, "speak_completed routed": 1, "speak_completed copy": 99,
		"play_completed no_input": 1, "play_completed copy": 99, "speak_completed accepted": 1, "speak_completed said": 1, "call_completed ended": 1,
	} {
		if kinds[kind] != want {
			t.Errorf("%d × %s, want %d", kinds[kind], kind, want)
		}
	}
	conflicts := 0
	for _, p := range workers {
		conflicts += p.count("offhook_worker_conflicts_total")
	}
	// One worker steps a call's events in turn, so a commit beats one of each other's.
	if most := 303 * (len(workers) - 1); conflicts > most {
		t.Errorf("%d commits lost, want at most %d", conflicts, most)
	}
	t.Logf("%d commits lost", conflicts)
	if f := w.failures(); len(f) != 0 {
		t.Errorf("failures: %+v", f)
	}
}
