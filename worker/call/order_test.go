package call_test

import (
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/call"
)

func TestRedeliveryGetsTheSameAction(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	var entries []call.Entry
	var actions []string
	for _, words := range []string{"dial_completed answered", "speak_completed 1", "play_completed 7", "speak_completed 2", "speak_completed 1"} {
		e := l.event(words)
		entries = append(entries, e)
		body, err := l.step(e).Decision.Body()
		if err != nil {
			t.Fatal(err)
		}
		actions = append(actions, string(body))
	}
	for i, e := range entries {
		before := l.state
		out := l.step(e)
		body, err := out.Decision.Body()
		if err != nil {
			t.Fatal(err)
		}
		if !out.Known || string(body) != actions[i] {
			t.Errorf("redelivery of event %d: known %v, action %s, want %s", i+1, out.Known, body, actions[i])
		}
		if diff := gocmp.Diff(before, l.state); diff != "" {
			t.Errorf("redelivery of event %d changed the state:\n%s", i+1, diff)
		}
	}
}

// The second ingress's clock is seconds behind: the stream's order is what counts,
// in whichever order the two are stepped.
func TestClockSkewOfIngresses(t *testing.T) {
	t.Parallel()
	for _, swapped := range []bool{false, true} {
		l := newLine(t, compile(t, survey))
		entries := []call.Entry{l.event("dial_completed answered"), l.event("speak_completed 1"), l.event("play_completed 2"), l.event("speak_completed 2")}
		entries[2].Key -= (3 * time.Second).Microseconds()
		if swapped {
			entries[1], entries[2] = entries[2], entries[1]
		}
		for _, e := range entries {
			l.step(e)
		}
		for _, e := range entries {
			if !l.step(e).Known {
				t.Errorf("swapped %v: the redelivery of %s is not recognised", swapped, e.ID)
			}
		}
		l.step(l.event("call_completed"))
		if got, want := l.summary(), "completed/rating=2(middling) again=2(no)/thanks/person"; got != want {
			t.Errorf("swapped %v: got %s, want %s", swapped, got, want)
		}
	}
}

// The answer to the first question was held up in an outage; its hold's end was
// answered from the state before it, live. Putting it in its place must not make
// the caller's next key the answer to a question that was never asked.
func TestWhatACallerHeardCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	live := func(words string) call.Entry {
		e := l.event(words)
		e.Live = true
		return e
	}
	l.step(live("dial_completed answered"))
	l.step(live("speak_completed 1"))
	held := live("play_completed 1") // an answer to rating, not stepped yet
	told := l.told(held, messages.ToldHold)
	if got := show(l.step(live("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the hold's end got %s", got)
	}
	l.step(held)
	l.step(told)
	// The caller hears rating once more, and answers that.
	if got := show(l.step(live("play_completed 2")).Decision); got != "hold_ended: speak You said 1. Will you come again? 1 yes, 2 no. [max 1]" {
		t.Fatalf("the key pressed at rating got %s", got)
	}
	l.step(live("speak_completed 1"))
	l.step(live("call_completed"))
	if got, want := l.summary(), "completed/rating=1(very bad) again=1(yes)/thanks/person"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// The end may come first, from another ingress: what call it was comes later, and
// the record is the same.
func TestTheEndFirst(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	start, end := l.event("dial_completed busy"), l.event("call_completed")
	if out := l.step(end); !out.Publish || show(out.Decision) != "ended: {}" {
		t.Fatalf("the end: got %s, published %v", show(out.Decision), out.Publish)
	}
	if r, err := l.machine.Record(l.state, l.log, 1); err != nil || r.CallID != "C1" || r.To != "15558675309" || r.Flow != "" {
		t.Errorf("got record %+v, error %v; want one of call C1 without a flow", r, err)
	}
	if out := l.step(start); !out.Publish {
		t.Error("what came late must publish a new revision")
	}
	if r, err := l.machine.Record(l.state, l.log, 2); err != nil || r.Disposition != messages.DispositionBusy || r.Flow != "visit-survey" {
		t.Errorf("got record %+v, error %v; want busy, of visit-survey", r, err)
	}
}

// What comes again out of a spool has no place in the stream: its arrival may look
// newer than all that is known, and only the log knows that it is not.
func TestWhatComesAgainFromASpoolIsKnown(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	l.step(l.event("speak_completed 1"))
	first, earlier := l.event("play_completed 2"), l.event("call_leg_completed")
	earlier.Key = first.Key - 5_000 // arrived before it, and was published after it
	l.step(first)
	l.step(earlier)
	again := first
	again.Seq, again.Late = 99, true
	if out := l.machine.Step(l.state, l.log, again, time.Now()); !out.Known || len(out.Entries) != 0 {
		t.Errorf("known %t, %d entries to append; it was stepped before", out.Known, len(out.Entries))
	}
}
