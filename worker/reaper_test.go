package worker_test

import (
	"bytes"
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker"
)

func (w *world) reaper() *worker.Reaper { return worker.NewReaper(w.store, w.bus, discard) }

// lost is an intent that is due: the process that began its try died.
func (w *world) lost() messages.Intent {
	w.t.Helper()
	in, begun, err := w.store.BeginTry(within(w.t), w.newIntent(), 0)
	if err != nil || !begun {
		w.t.Fatalf("begin try: %v, %v", begun, err)
	}
	return in
}

// A lost dial becomes unknown and is parked, once; the reaper runs at once and ends
// with its context.
func TestReaper(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.lost()
	r := w.reaper()
	r.Every(time.Hour)
	stop := w.run(r.Run)
	kept := w.wantParked(w.awaitFailures(1)[0], in.ID)
	if kept.Outcome != "no_outcome" || kept.Contact["first_name"] != "Ann" || kept.TriedAt == nil {
		t.Errorf("kept %+v", kept)
	}
	stop()
	if got := w.intent(in.ID); got.Status != messages.CallUnknown || got.Outcome != "no_outcome" {
		t.Errorf("intent is %s, outcome %s", got.Status, got.Outcome)
	}
	noError(t, w.reaper().Reap(within(t)))
	w.awaitFailures(1)
	w.wantNothingDue()
	if r := w.records(); len(r) != 0 { // an event may still tell
		t.Errorf("records %+v", r)
	}

	// The event that tells.
	c := w.newCaller()
	c.external = in.ID
	_, replies := w.start(plan{}).handle(w.delivery(c.envelope("dial_completed answered")))
	c.wantAction(replies[0], "the event", hello)
	if got := w.intent(in.ID); got.Status != messages.CallAccepted {
		t.Errorf("intent is %s", got.Status)
	}
}

// It goes on, pass by pass, also after one that failed.
func TestReaperRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay, url := w.relayToRedis()
	var log lockedBuffer
	r := worker.NewReaper(w.openStore(url), w.bus, textLog(&log))
	r.Every(time.Millisecond)
	w.run(r.Run)
	first := w.lost()
	eventually(t, "the first is given up", func() bool { return !w.isDue(first.ID) })
	relay.takeAway()
	receive(t, "an attempt to look", relay.refused)
	second := w.lost()
	relay.bringBack()
	eventually(t, "the second is given up", func() bool { return !w.isDue(second.ID) })
	w.awaitFailures(2)
	if text := log.String(); !strings.Contains(text, "due dials not given up; trying again") || !strings.Contains(text, "outcome never came") {
		t.Errorf("log: %s", text)
	}
}

// A reaper that has to stop finishes what it has begun, and begins nothing more:
// parked and still due, a dial would be parked twice.
func TestReaperStops(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.lost()
	w.lost()
	relay, url := w.relayToNATS()
	r := worker.NewReaper(w.store, w.connect(url), discard)
	ctx, stop := context.WithCancel(within(t))
	defer stop()
	relay.watch(func(sent []byte) verdict {
		if bytes.Contains(sent, []byte("PUB offhook.failed.")) {
			stop()
		}
		return pass
	})
	noError(t, r.Reap(ctx))
	w.awaitFailures(1)
	ids, err := w.store.DueIntents(within(t), 10)
	if noError(t, err); len(ids) != 1 {
		t.Errorf("due: %v, want the other one", ids)
	}
	noError(t, w.reaper().Reap(within(t)))
	w.awaitFailures(2)
	w.wantNothingDue()
}

// What is not due yet is left alone.
func TestReaperWaits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.place()
	result := w.start(plan{}).dialer(startTeleSign(t, acceptedAnswer)).Handle(within(t), messages.DialJob{Intent: w.intent(c.external)}, 1)
	noError(t, w.reaper().Reap(within(t)))
	if in := w.intent(c.external); in.Status != messages.CallDialing {
		t.Errorf("intent is %s", in.Status)
	}
	result.After(within(t))
	if in := w.intent(c.external); in.Status != messages.CallAccepted {
		t.Errorf("intent is %s", in.Status)
	}
}

// Two at once, each with its own look at what is due: every dial becomes unknown and
// is kept, none more than once by each.
func TestTwoReapers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const dials = 30
	want := map[string]bool{}
	for range dials {
		want[w.lost().ID] = true
	}
	start := make(chan struct{})
	var both sync.WaitGroup
	for range 2 {
		r := w.reaper()
		both.Go(func() {
			<-start
			if err := r.Reap(within(t)); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	both.Wait()
	kept := map[string]int{}
	for _, f := range w.failures() {
		for id := range want {
			if strings.Contains(string(f.Body), id) {
				w.wantParked(f, id)
				kept[id]++
			}
		}
	}
	for id := range want {
		if kept[id] < 1 || kept[id] > 2 {
			t.Errorf("intent %s was kept %d times", id, kept[id])
		}
		if got := w.intent(id); got.Status != messages.CallUnknown {
			t.Errorf("intent %s is %s", id, got.Status)
		}
	}
	w.wantNothingDue()
}

// A reaper that listed a dial before it was settled changes nothing.
func TestReaperIsTooLate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := []struct {
		name   string
		settle func(id string) error
		status messages.CallStatus
	}{
		{"an event came", func(id string) error {
			_, _, err := w.store.ClaimIntent(within(t), id, "C1")
			return err
		}, messages.CallAccepted},
		{"the dialer was slow: accepted", func(id string) error {
			_, err := w.store.ResolveTry(within(t), id, store.Resolution{Status: messages.CallAccepted, HTTPStatus: 202})
			return err
		}, messages.CallAccepted},
		{"the dialer was slow: refused", func(id string) error {
			_, err := w.store.ResolveTry(within(t), id, store.Resolution{Status: messages.CallRefused, HTTPStatus: 400})
			return err
		}, messages.CallRefused},
	}
	for _, test := range tests {
		in := w.lost()
		noError(t, test.settle(in.ID))
		before := w.intent(in.ID)
		noError(t, w.reaper().GiveUp(within(t), in.ID))
		if after := w.intent(in.ID); after.Status != test.status || after.HTTPStatus != before.HTTPStatus || after.CallID != before.CallID {
			t.Errorf("%s: intent went from %+v to %+v", test.name, before, after)
		}
	}
	if f := w.failures(); len(f) != 0 {
		t.Errorf("failures %+v", f)
	}
}

// A dialer that died after it wrote down what TeleSign answered leaves an unknown
// dial that says so.
func TestReaperKeepsWhatIsKnown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.lost()
	_, err := w.store.ResolveTry(within(t), in.ID, store.Resolution{Status: messages.CallUnknown, HTTPStatus: 503, Outcome: "ambiguous"})
	noError(t, err)
	noError(t, w.reaper().Reap(within(t)))
	if kept := w.wantParked(w.awaitFailures(1)[0], in.ID); kept.Outcome != "ambiguous" || kept.HTTPStatus != 503 {
		t.Errorf("kept outcome %q, HTTP %d", kept.Outcome, kept.HTTPStatus)
	}
	w.wantNothingDue()
}

// Until the failure is kept, the dial stays due.
func TestReaperWithoutNATS(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	in := w.lost()
	relay, url := w.relayToNATS()
	r := worker.NewReaper(w.store, w.connect(url), discard)
	relay.takeAway()
	if err := r.Reap(within(t)); err == nil || messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if ids, err := w.store.DueIntents(within(t), 10); err != nil || len(ids) != 1 {
		t.Errorf("due: %v, %v", ids, err)
	}
	noError(t, w.reaper().Reap(within(t)))
	w.wantParked(w.awaitFailures(1)[0], in.ID)
	w.wantNothingDue()
}

// A store that is away costs a warning, and the next pass tries again.
func TestReaperWithoutStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.openStore(w.redis)
	noError(t, st.Close())
	r := worker.NewReaper(st, w.bus, discard)
	if err := r.Reap(within(t)); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Run(ctx); err != nil {
		t.Errorf("Run: %v", err)
	}
}

// One intent that cannot be read, or is gone, does not keep the others.
func TestReaperGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	broken, gone, sound := w.lost(), w.lost(), w.lost()
	client := w.redisClient()
	defer func() { _ = client.Close() }()
	key := func(in messages.Intent) string {
		return w.prefix + ":intent:{" + messages.Partition(in.ID) + "}:" + in.ID
	}
	noError(t, client.HSet(within(t), key(broken), "intent", "no JSON").Err())
	noError(t, client.Del(within(t), key(gone)).Err())

	err := w.reaper().Reap(within(t))
	if err == nil || !strings.Contains(err.Error(), broken.ID) || strings.Contains(err.Error(), sound.ID) {
		t.Errorf("got %v", err)
	}
	w.wantParked(w.awaitFailures(1)[0], sound.ID)
	if ids, err := w.store.DueIntents(within(t), 10); err != nil || len(ids) != 1 || ids[0] != broken.ID {
		t.Errorf("due: %v, %v; want the broken one only", ids, err)
	}
}
