package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// countedMsg counts in-progress acks; nothing else of it is called.
type countedMsg struct {
	jetstream.Msg
	beats chan struct{}
}

func (m countedMsg) InProgress() error { m.beats <- struct{}{}; return nil }

func TestAHoldBeatsUntilReleasedAndNeverAfter(t *testing.T) {
	t.Parallel()
	m := countedMsg{beats: make(chan struct{}, 1000)}
	h := newHolds(30*time.Millisecond, discard).hold(m, patience)
	receive(t, "a beat", m.beats)
	receive(t, "the next beat", m.beats)
	h.release()
	for len(m.beats) > 0 {
		<-m.beats
	}
	h.beat(0) // its turn had come just before the release
	receiveNone(t, "a beat after the release", m.beats)
}

// The timer of all holds runs while there are any, and beats for each in its own time.
func TestHoldsShareATimerThatEndsWithTheLast(t *testing.T) {
	t.Parallel()
	all := newHolds(30*time.Millisecond, discard)
	runs := func() bool {
		all.mu.Lock()
		defer all.mu.Unlock()
		return all.runs
	}
	for range 2 { // it begins again
		one, two := countedMsg{beats: make(chan struct{}, 1000)}, countedMsg{beats: make(chan struct{}, 1000)}
		first, second := all.hold(one, patience), all.hold(two, patience)
		receive(t, "a beat of the first", one.beats)
		receive(t, "a beat of the second", two.beats)
		first.release()
		first.release() // twice is once
		for len(two.beats) > 0 {
			<-two.beats
		}
		receive(t, "the next beat of the second", two.beats)
		second.release()
		eventually(t, "the timer has ended", func() bool { return !runs() })
	}
}

// A hold beats no more once its time is over, and can go on until ack-wait is over too.
func TestAHoldEndsWithItsTime(t *testing.T) {
	t.Parallel()
	m := countedMsg{beats: make(chan struct{}, 1000)}
	h := newHolds(time.Hour, discard).hold(m, 0)
	defer h.release()
	h.beat(0)
	receiveNone(t, "a beat after its time", m.beats)
	if !h.extend(time.Hour) {
		t.Fatal("the message is not anybody else's yet")
	}
	h.beat(0)
	receive(t, "a beat", m.beats)
	h.mu.Lock()
	h.last = time.Now().Add(-time.Hour)
	h.mu.Unlock()
	if h.extend(time.Hour) {
		t.Error("a message that was delivered to somebody else is held")
	}
}
