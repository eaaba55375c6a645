package worker_test

import (
	"testing"
	"time"

	"github.com/offhook/offhook/messages/bus"
)

// An event whose PubAck was lost is in the stream and in a spool. What comes out of
// the spool is recognised, whatever has happened to the call in between.
func TestAnEventAndItsSpooledCopyAreSteppedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	c := w.place()
	p.handle(w.delivery(c.envelope("dial_completed answered")))
	first, other := c.envelope("speak_completed 1"), c.envelope("call_leg_completed")
	other.Arrived = first.Arrived.Add(-5 * time.Millisecond)
	p.handle(w.delivery(first))
	p.handle(w.delivery(other))
	before, _, log := w.state(c.id)

	spooled := first
	spooled.Late, spooled.Deadline = true, time.Time{}
	again := w.delivery(spooled)
	again.ReplyTo = ""
	if result := p.events.Handle(within(t), again); result != bus.Done() {
		t.Errorf("got %+v", result)
	}
	if after, _, now := w.state(c.id); after.Revision != before.Revision || len(now) != len(log) {
		t.Errorf("revision %d and %d entries, want %d and %d: it was stepped again", after.Revision, len(now), before.Revision, len(log))
	}
}
