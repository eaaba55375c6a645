package worker_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/nats-io/nats.go"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/worker/call"
)

// cutOff is a worker whose NATS is gone and whose store is not: what it commits is
// committed, what it says reaches nobody. It stands for one that dies between the
// two.
func (w *world) cutOff() *process {
	w.t.Helper()
	b := w.connect(w.nats.URL())
	p := w.start(plan{bus: b})
	noError(w.t, b.Close(within(w.t)))
	return p
}

// I3: a redelivery is recognised by its event id, whatever died and whenever: the
// same bytes for an answer, the state as it was, no record missing.
func TestRedelivery(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	healthy := w.start(plan{})
	script := []struct {
		words, action string
		publishes     bool
	}{
		{"dial_completed answered", hello, false},
		{"speak_completed 1", rating, false},
		{"play_completed play_failed", `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"How was your visit?","language":"en-US"},"collect_digits":{"max":1,"timeout":10000}}}`, false},
		{"speak_completed 3", thanks, false},
		{"call_completed", "{}", true},
		{"speak_completed 1", "{}", true}, // after the end
	}
	crashes := map[string]func(d bus.Delivery, publishes bool){
		"between commit and reply": func(d bus.Delivery, publishes bool) {
			if result, _ := w.cutOff().handle(d); (result == bus.Done()) == publishes {
				t.Errorf("a worker that had a record to publish (%v) and could not: %+v", publishes, result)
			}
		},
		"between publish and ack": func(d bus.Delivery, _ bool) { healthy.handle(d) },
	}
	for name, crash := range crashes {
		c := w.place()
		published := 0
		for i, s := range script {
			at := fmt.Sprintf("%s, event %d", name, i)
			d := w.delivery(c.envelope(s.words))
			crash(d, s.publishes)
			before, _, log := w.state(c.id)
			if before.Revision != uint64(i+1) || len(log) != i+1 {
				t.Fatalf("%s: not committed: revision %d, %d entries", at, before.Revision, len(log))
			}

			for attempt := 2; attempt < 4; attempt++ {
				d.Attempt = attempt
				result, replies := healthy.handle(d)
				if result != bus.Done() || len(replies) != 1 {
					t.Fatalf("%s: %+v after %d replies", at, result, len(replies))
				}
				c.wantAction(replies[0], at, s.action)
			}
			after, _, _ := w.state(c.id)
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s: the redelivery changed the call:\n%s", at, diff)
			}
			if s.publishes {
				published++
			}
			records := c.records()
			if len(records) != published {
				t.Fatalf("%s: %d records, want %d", at, len(records), published)
			}
			if published > 0 && records[published-1].Revision != uint64(i+1) {
				t.Errorf("%s: published revision %d, want %d", at, records[published-1].Revision, i+1)
			}
		}
	}
}

// A redelivery of an event that is not the newest gets the action of its place in
// the call, not that of where the call is now.
func TestRedeliveryOfAnOlderEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	first, second := w.delivery(c.envelope("dial_completed answered")), w.delivery(c.envelope("speak_completed 1"))
	p.handle(first)
	p.handle(second)
	before, _, _ := w.state(c.id)
	_, replies := p.handle(first)
	c.wantAction(replies[0], "the first event again", hello)
	if after, _, _ := w.state(c.id); !cmp.Equal(before, after) {
		t.Error("the redelivery changed the call")
	}

	// When it is the first that comes after the end, it brings the record that the
	// worker of the end did not publish.
	end := w.delivery(c.envelope("call_completed"))
	if result, _ := w.cutOff().handle(end); result == bus.Done() || len(c.records()) != 0 {
		t.Fatalf("%+v, %d records", result, len(c.records()))
	}
	p.handle(second)
	if got := c.awaitRecord(1); got.Revision != 3 || len(got.Timeline) != 3 {
		t.Errorf("revision %d of %s", got.Revision, timeline(got))
	}
}

// Also what was no action is the same again.
func TestRedeliveryOfAHeldEvent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	p.handle(w.delivery(c.envelope("dial_completed answered")))
	d := w.delivery(c.envelope("recording_started"))
	for range 2 {
		_, replies := p.handle(d)
		if len(replies) != 1 {
			t.Fatalf("replies %+v", replies)
		}
		c.wantHold(replies[0], d.Event, "does not fit what the caller was told")
	}
	if stored, _, _ := w.state(c.id); stored.Revision != 2 {
		t.Errorf("revision %d", stored.Revision)
	}
}

// A redelivery commits nothing that would fail if the call has moved on since it was
// read. It must not publish the record of a revision that is no longer the newest.
func TestRecordIsOfOneRevision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	relay, url := w.relayToRedis()
	redelivered, other := w.start(plan{store: w.openStore(url)}), w.start(plan{})
	c := w.place()
	for _, words := range []string{"dial_completed answered", "speak_completed 1"} {
		other.handle(w.delivery(c.envelope(words)))
	}
	answer := w.delivery(c.envelope("play_completed 3"))
	answer.Late = true
	end := w.delivery(c.envelope("call_completed"))
	w.cutOff().handle(end)

	var between sync.Once
	relay.watch(func(sent []byte) verdict {
		if looksAgain := bytes.HasSuffix(sent, []byte("\r\n$1\r\n0\r\n$1\r\n2\r\n")); looksAgain {
			between.Do(func() { other.events.Handle(context.Background(), answer) })
		}
		return pass
	})
	redelivered.handle(end)
	records := c.records()
	if len(records) == 0 || !slices.ContainsFunc(records, func(r messages.Record) bool { return r.Revision == 4 }) {
		t.Errorf("%d records, want one of revision 4", len(records))
	}
	for _, r := range records {
		if len(r.Timeline) != int(r.Revision) || r.Revision != 4 || len(r.Answers) != 1 {
			t.Errorf("revision %d: %s", r.Revision, timeline(r))
		}
	}
	if n := redelivered.count("offhook_worker_conflicts_total"); n != 1 {
		t.Errorf("%d conflicts counted", n)
	}
}

// A worker that cannot publish the record keeps the event.
func TestRecordThatCannotBePublishedIsRetried(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.place()
	p := w.cutOff()
	if result, _ := p.handle(w.delivery(c.envelope("dial_completed answered"))); result != bus.Done() {
		t.Errorf("an event without a record: %+v", result)
	}
	if result, _ := p.handle(w.delivery(c.envelope("call_completed"))); result == bus.Done() {
		t.Error("the call's end was acknowledged without its record")
	}
	if n := p.count("offhook_worker_retries_total"); n != 1 {
		t.Errorf("%d retries counted", n)
	}
}

// The same delivery in two workers at the same moment, as after a pause longer than
// ack-wait: stepped once, answered alike, published.
func TestOneEventInManyWorkers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	workers := make([]*process, 4)
	for i := range workers {
		workers[i] = w.start(plan{})
	}
	c := w.place()
	for i, s := range []struct{ words, action string }{
		{"dial_completed answered", hello},
		{"speak_completed 1", rating},
		{"play_completed 4", thanks},
		{"call_completed", "{}"},
	} {
		d := w.delivery(c.envelope(s.words))
		start := make(chan struct{})
		copies := make([]bus.Delivery, len(workers))
		inboxes := make([]*nats.Subscription, len(workers))
		var all sync.WaitGroup
		for n, p := range workers {
			copies[n] = d
			copies[n].ReplyTo = fmt.Sprintf("%s.%d", d.ReplyTo, n)
			inboxes[n] = w.listen(copies[n])
			all.Go(func() {
				<-start
				if result := p.events.Handle(within(t), copies[n]); result != bus.Done() {
					t.Errorf("%s: %+v", s.words, result)
				}
			})
		}
		close(start)
		all.Wait()
		for n, p := range workers {
			replies := p.replies(inboxes[n], copies[n])
			if len(replies) != 1 {
				t.Fatalf("%s: replies %+v", s.words, replies)
			}
			c.wantAction(replies[0], s.words, s.action)
		}
		if stored, _, log := w.state(c.id); stored.Revision != uint64(i+1) || len(log) != i+1 {
			t.Errorf("%s: revision %d, %d entries, want %d", s.words, stored.Revision, len(log), i+1)
		}
	}
	if got := c.awaitRecord(1); got.Revision != 4 || got.Disposition != messages.DispositionCompleted {
		t.Errorf("revision %d, %s", got.Revision, got.Disposition)
	}
}

// A commit that another worker was faster with is stepped again, on what that one
// committed; one that always loses is left to a redelivery.
func TestLostRaces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ rivals, conflicts, retries int }{{1, 1, 0}, {199, 199, 0}, {200, 200, 1}} {
		w := newWorld(t)
		relay, url := w.relayToRedis()
		slow, fast := w.start(plan{store: w.openStore(url)}), w.start(plan{})
		c := w.place()
		fast.handle(w.delivery(c.envelope("dial_completed answered")))
		var rivals []bus.Delivery
		for range test.rivals {
			rivals = append(rivals, w.delivery(c.envelope("recording_started")))
		}
		d := w.delivery(c.envelope("speak_completed 1"))
		relay.watch(func(sent []byte) verdict {
			if bytes.Contains(sent, []byte("evalsha")) && len(rivals) > 0 { // the commit
				fast.events.Handle(context.Background(), rivals[0])
				rivals = rivals[1:]
			}
			return pass
		})
		result, replies := slow.handle(d)
		if len(replies) != 1 {
			t.Fatalf("%d rivals: replies %+v", test.rivals, replies)
		}
		want := test.rivals + 2
		if test.retries > 0 {
			want--
			wantRetry(t, result)
			c.wantHold(replies[0], d.Event, "unavailable")
		} else {
			c.wantAction(replies[0], d.Event, rating)
		}
		if stored, _, log := w.state(c.id); stored.Revision != uint64(want) || len(log) != want {
			t.Errorf("%d rivals: revision %d, %d entries, want %d", test.rivals, stored.Revision, len(log), want)
		}
		if conflicts, retries := slow.count("offhook_worker_conflicts_total"), slow.count("offhook_worker_retries_total"); conflicts != test.conflicts || retries != test.retries {
			t.Errorf("%d rivals: %d conflicts, %d retries", test.rivals, conflicts, retries)
		}
	}
}

// Fifty events of one call at once, in several workers: each is stepped once, none
// is lost, and the outcome is that of their order of arrival.
func TestManyEventsOfOneCallAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.place()
	const events = 50
	var arrivals []messages.Envelope
	for i := range events {
		words := []string{"speak_completed", "speak_completed 7", "play_completed 3", "speak_completed 1"}[i%4]
		switch i {
		case 0:
			words = "dial_completed answered"
		case events - 1:
			words = "call_completed"
		}
		arrivals = append(arrivals, c.envelope(words))
	}
	// Three workers hold their first events until all have some, so that they race.
	const workers, slots = 3, 16
	var ready sync.WaitGroup
	ready.Add(workers * slots)
	processes := make([]*process, workers)
	for i := range processes {
		p := w.start(plan{bus: w.connect(w.nats.URL())})
		processes[i] = p
		var mu sync.Mutex
		seen := 0
		w.run(func(ctx context.Context) error {
			return p.bus.ConsumeEvents(ctx, bus.ConsumerConfig{Slots: slots}, func(ctx context.Context, d bus.Delivery) bus.Result {
				mu.Lock()
				seen++
				first := seen <= slots
				mu.Unlock()
				if first {
					ready.Done()
					ready.Wait()
				}
				return p.events.Handle(ctx, d)
			})
		})
	}
	for _, env := range arrivals {
		noError(t, w.bus.Tell(within(t), env))
	}
	eventually(t, "all events are in the log", func() bool { _, _, log := w.state(c.id); return len(log) >= events })
	stored, state, log := w.state(c.id)
	if stored.Revision != events || len(log) != events {
		t.Errorf("revision %d, %d entries, want %d", stored.Revision, len(log), events)
	}
	for i, e := range log {
		if e.ID != arrivals[i].EventID {
			t.Fatalf("entry %d is another arrival than the %dth", i, i)
		}
	}
	machine := call.Machine{Program: compile(t, survey), Limits: limits}
	if diff := cmp.Diff(machine.Fold(state.Facts, log), state, cmpopts.IgnoreFields(call.State{}, "CallID")); diff != "" {
		t.Errorf("the state is not that of the log:\n%s", diff)
	}
	raced := 0
	for _, p := range processes {
		raced += p.count("offhook_worker_conflicts_total")
	}
	t.Logf("%d commits lost", raced)
	eventually(t, "the record of the last commit is published", func() bool {
		return slices.ContainsFunc(c.records(), func(r messages.Record) bool { return r.Revision == events && len(r.Timeline) == events })
	})
}
