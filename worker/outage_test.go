package worker_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/store/redistest"
	"github.com/offhook/offhook/worker/flow"
)

// While the store is away, whoever waits is put on hold at once; when it is back,
// the event is stepped as if nothing had been.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	outages := map[string]struct {
		begin, end func(*redistest.Server, testing.TB)
	}{
		"stopped": {(*redistest.Server).Stop, (*redistest.Server).Restart},
		"paused":  {(*redistest.Server).Pause, (*redistest.Server).Resume},
	}
	for name, outage := range outages {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			w := newWorldOn(t, server.URL()) // with the store's own time limits
			p := w.start(plan{})
			p.consume()
			c := w.place()
			c.say("dial_completed answered", hello)

			outage.begin(server, t)
			env := c.envelope("speak_completed 1")
			env.Deadline = env.Arrived.Add(time.Hour)
			asked := time.Now()
			c.wantHold(c.ask(env), env.Event, "unavailable")
			if took := time.Since(asked); took > 2500*time.Millisecond {
				t.Errorf("the hold took %s, which is longer than the answer window", took)
			}
			outage.end(server, t)
			eventually(t, "the event is stepped", func() bool {
				stored, err := w.store.LoadCall(within(t), c.id)
				return err == nil && stored.Revision == 2
			})
			if n := p.count("offhook_worker_deferred_total", "store_away"); n != 1 {
				t.Errorf("%d deferred", n)
			}
			// Ingress had reported the hold; its end delivers what was decided since.
			c.tell(c.told(env, messages.ToldHold))
			eventually(t, "the late lane is drained", func() bool { return !p.bus.LateWaiting(c.id) })
			c.say("speak_completed", rating)
			if f := w.failures(); len(f) != 0 {
				t.Errorf("failures: %+v", f)
			}
		})
	}
}

// A state that a newer offhook wrote is left to a newer worker, byte for byte.
func TestNewerState(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	newer := store.Commit{State: []byte(`{"v":2,"F":"another form"}`), Outbox: []byte(`{"new":1}`), Log: [][]byte{[]byte(`{"i":[]}`)}}
	noError(t, w.store.CommitCall(within(t), c.id, newer))
	unreadable := c.envelope("speak_completed 1")
	unreadable.Body = []byte("no event")
	for _, env := range []messages.Envelope{c.envelope("speak_completed 1"), c.told(c.envelope("speak_completed"), messages.ToldHold), unreadable} {
		result, replies := p.handle(w.delivery(env))
		if wantRetry(t, result); len(replies) != 1 || replies[0].Verdict != messages.VerdictHold {
			t.Errorf("%s %s: replies %+v", env.Kind, env.Body, replies)
		}
	}
	stored, err := w.store.LoadCall(within(t), c.id)
	noError(t, err)
	log, err := w.store.LoadLog(within(t), c.id)
	noError(t, err)
	if stored.Revision != 1 || !bytes.Equal(stored.State, newer.State) || !bytes.Equal(stored.Outbox, newer.Outbox) || len(log) != 1 {
		t.Errorf("the call was touched: %+v, log %q", stored, log)
	}
}

// wantRetry wants neither Done nor Park of a handler.
func wantRetry(t testing.TB, got bus.Result) {
	t.Helper()
	if got == bus.Done() || got == (bus.Result{}) {
		t.Errorf("got %+v, want a retry with a reason", got)
	}
}

// A live call stays on the version it began with; a worker that lacks a version
// takes it from the store.
func TestFlowVersions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	old := w.start(plan{})
	c := w.place()
	_, replies := old.handle(w.delivery(c.envelope("dial_completed answered")))
	c.wantAction(replies[0], "the first event", hello)

	edited := compile(t, strings.ReplaceAll(survey, "rating.wav", "edited.wav"))
	for _, p := range []*process{old, w.start(plan{flows: []*flow.Program{edited}})} {
		noError(t, p.catalog.Use(within(t), edited))
		d := w.delivery(c.envelope("speak_completed 1"))
		_, replies = p.handle(d)
		if len(replies) != 1 || !strings.Contains(string(replies[0].Action), "rating.wav") {
			t.Errorf("replies %+v, want the version that the call began with", replies)
		}
		_, replies = p.handle(w.delivery(c.envelope("play_completed"))) // ask again
		if len(replies) != 1 || replies[0].Verdict != messages.VerdictDecided {
			t.Errorf("replies %+v", replies)
		}
		c = w.place()
		p.handle(w.delivery(c.envelope("dial_completed answered")))
	}
}

// A version that is nowhere to be had ends the call in good order, whether it has
// begun or not.
func TestFlowVersionNobodyHas(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const apology = `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"Sorry, we cannot help you now.","language":"en-US"}}}`
	gone := compile(t, strings.ReplaceAll(survey, "name: survey", "name: gone"))
	tests := []struct {
		before, after []string
		disposition   messages.Disposition
		reason        string
	}{
		{nil, []string{"dial_completed answered"}, messages.DispositionNoFlow, ""},
		{[]string{"dial_completed answered"}, []string{"speak_completed 1"}, messages.DispositionFailed, "flow_missing"},
	}
	for _, test := range tests {
		client := w.redisClient()
		before := w.start(plan{flows: []*flow.Program{gone}})
		c := w.place(func(in *messages.Intent) { in.Flow, in.FlowHash = gone.Name, gone.Hash })
		for _, words := range test.before {
			before.handle(w.delivery(c.envelope(words)))
		}
		noError(t, client.Del(within(t), w.prefix+":flow:{flows}:"+gone.Hash).Err())
		noError(t, client.Close())

		p := w.start(plan{})
		for _, words := range test.after {
			_, replies := p.handle(w.delivery(c.envelope(words)))
			c.wantAction(replies[0], words, apology)
		}
		_, replies := p.handle(w.delivery(c.envelope("speak_completed")))
		c.wantAction(replies[0], "the end of the apology", hangup)
		p.handle(w.delivery(c.envelope("call_completed")))
		if got := c.awaitRecord(1); got.Disposition != test.disposition || got.Reason != test.reason || got.Flow != "gone" {
			t.Errorf("%s %s of flow %s, want %s %s", got.Disposition, got.Reason, got.Flow, test.disposition, test.reason)
		}
	}
}

// A version that is there and cannot be read by this worker is left to another.
func TestFlowVersionOfAnotherOffhook(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const hash = "0123456789abcdef0123456789abcdef"
	noError(t, w.store.PutFlow(within(t), "newer", hash, []byte("name: newer\nsomething: new\n")))
	p := w.start(plan{})
	c := w.place(func(in *messages.Intent) { in.Flow, in.FlowHash = "newer", hash })
	result, replies := p.handle(w.delivery(c.envelope("dial_completed answered")))
	if wantRetry(t, result); len(replies) != 1 {
		t.Fatalf("replies %+v", replies)
	}
	c.wantHold(replies[0], "the event", "unavailable")
	if stored, _, _ := w.state(c.id); stored.Revision != 0 {
		t.Errorf("the call was touched: %+v", stored)
	}
}
