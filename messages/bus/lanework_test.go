package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offhook/offhook/messages"
)

// heldMsg is a message that is only held.
type heldMsg struct{ countedMsg }

func (heldMsg) Subject() string      { return "offhook.late.05" }
func (heldMsg) Headers() nats.Header { return nil }

// What waits behind an event is held as long as that, and lost with it: handled ahead
// of it, it would be out of order.
func TestWhatIsBehindAnEventIsHeldAndLostWithIt(t *testing.T) {
	t.Parallel()
	b := &Bus{}
	ln := &lane{loop: &loop{bus: b}, hand: make(slots, 3), waiting: make(map[string][]*task)}
	holds := newHolds(time.Minute, discard)
	var all []*task
	for range 3 {
		m := heldMsg{countedMsg{beats: make(chan struct{}, 1000)}}
		all = append(all, &task{loop: ln.loop, msg: m, hold: holds.hold(m, time.Second)})
		ln.hand <- struct{}{}
	}
	key := all[0].msg.Subject()
	ln.waiting[key] = all[1:]
	if !ln.hold(all[0], time.Hour) {
		t.Fatal("a fresh message is not held any more")
	}
	for n, one := range all {
		if left := time.Until(one.hold.until); left < time.Minute {
			t.Errorf("event %d is held for %s", n, left)
		}
	}
	all[0].hold.last = time.Now().Add(-time.Minute) // the process was stopped
	if ln.hold(all[0], time.Hour) {
		t.Error("what was redelivered is still held")
	}
	ln.lose(all[0])
	if left := len(ln.waiting[key]); left != 0 || len(ln.hand) != 1 || b.counts.stale.Load() != 3 {
		t.Errorf("%d still wait, %d in hand, %d counted", left, len(ln.hand), b.counts.stale.Load())
	}
	for n, one := range all {
		if one.hold.extend(time.Hour) {
			t.Errorf("event %d is still held", n)
		}
	}
	if !ln.disturbed.Load() {
		t.Error("what was lost will not be claimed")
	}
}

// From before it is published until it is known to be drained, a deferral counts.
func TestADeferralOnItsWayCounts(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.URL())
	b := connect(t, s, overTCP(p.url))
	p.muteUp() // it never arrives
	done := make(chan error, 1)
	go func() { done <- b.Defer(within(t, patience), delivery("c", 1)) }()
	eventually(t, "the deferral on its way counts", func() bool { return b.LateWaiting("c") })
	receiveNone(t, "a confirmation of what never arrived", done)
	p.cut()
	if err := receive(t, "the end", done); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if !b.LateWaiting("c") {
		t.Error("it may be stored, and does not count")
	}
}
