package call_test

import (
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/call"
)

func TestHoldKeepsTheDecisionDue(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	begin := l.event("dial_completed answered")
	l.step(begin)
	answer := l.event("speak_completed 1")
	if got := show(l.step(answer).Decision); !strings.HasPrefix(got, "routed: play") {
		t.Fatal(got)
	}
	// The decision did not reach the caller: ingress said a hold.
	l.step(l.told(answer, messages.ToldHold))
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the end of the hold got %s", got)
	}
	if got := show(l.step(l.event("play_completed 5")).Decision); !strings.HasPrefix(got, "accepted: speak You said 5") {
		t.Fatalf("the answer got %s", got)
	}
	l.step(l.event("call_completed"))
	if got, want := l.summary(), "partial/rating=5(very good)/again/person"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r, err := l.machine.Record(l.state, l.log, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Holds != 1 {
		t.Errorf("holds: got %d, want 1", r.Holds)
	}
}

// A worker died with the event in hand; ingress told a hold and the hold's end is
// here before the event is.
func TestHoldOfAnEventThatIsStillUnderWay(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	missing := l.event("speak_completed 1")
	l.step(l.told(missing, messages.ToldHold))
	holdEnd := l.event("speak_completed")
	if got := show(l.step(holdEnd).Decision); got != "held: HOLD" {
		t.Fatalf("the hold's end before the event: got %s", got)
	}
	l.step(l.told(holdEnd, messages.ToldHold))
	out := l.step(missing)
	if !out.Rewrite {
		t.Error("the late event must be put in its place")
	}
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the second hold's end got %s", got)
	}
}

func TestParkedEventLetsTheCallGoOn(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	bad := l.event("speak_completed 1")
	l.step(call.ParkedEntry(bad.ID, time.UnixMicro(bad.Key), bad.Seq, false, "speak_completed"))
	l.step(l.told(bad, messages.ToldHold))
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: speak Hello Ann, press 1 to begin. [max 1]" {
		t.Fatalf("got %s", got)
	}
}

func TestHoldsEndWithAnApology(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	held := l.event("speak_completed 1")
	for range 60 {
		l.step(l.told(held, messages.ToldHold))
		held = l.event("speak_completed")
		out := l.step(held)
		if out.Decision.Hold {
			continue
		}
		if got := show(out.Decision); got != "held: speak Sorry." {
			t.Fatalf("got %s", got)
		}
		if got := show(l.step(l.event("speak_completed")).Decision); got != "over: hangup" {
			t.Fatalf("after the apology: got %s", got)
		}
		l.step(l.event("call_completed"))
		if got, want := l.summary(), "failed held_too_long//hello/flow"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		return
	}
	t.Fatal("60 holds in a row, and no apology")
}

func TestAReportAboutAnOlderEventHoldsOnce(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	answer := l.event("speak_completed 1")
	l.step(answer)
	l.step(l.event("recording_started"))
	l.step(l.told(answer, messages.ToldHold))
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Errorf("the hold's end got %s", got)
	}
}

func TestNothingToldInsteadOfAPrompt(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	unforeseen := l.event("recording_started")
	l.step(unforeseen)
	l.step(l.told(unforeseen, messages.ToldNothing)) // nothing was due for it
	answer := l.event("speak_completed 1")
	if got := show(l.step(answer).Decision); got != "routed: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the answer got %s", got)
	}
	l.step(l.told(answer, messages.ToldNothing)) // rating was due
	if got := show(l.step(l.event("speak_completed 5")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Errorf("after nothing was told: got %s", got)
	}
}
