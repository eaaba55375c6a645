package bus

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// receive queues an event behind those of its partition, or, while the lane is being
// claimed, lays it aside.
func (ln *lane) receive(intake, work context.Context, t *task, handlers *sync.WaitGroup) {
	ln.last = time.Now()
	if pin := t.msg.Headers().Get("Nats-Pin-Id"); ln.disturbed.Swap(false) || pin != ln.pin {
		ln.pin, ln.claiming = pin, ln.last
		if ln.claimed == nil {
			ln.claimed = make(map[uint64]*task)
		}
	}
	if ln.claiming.IsZero() {
		ln.queue(intake, work, t, handlers)
		return
	}
	t.hold.extend(ln.claimMost())
	if older := ln.claimed[t.sequence]; older != nil {
		older.hold.release()
		ln.hand.release(1)
	}
	ln.claimed[t.sequence] = t
}

// claimEvery is how often a lane asks whether what others had in hand is done.
const claimEvery = 50 * time.Millisecond

// claimMost is how long a lane waits for what others have in hand: for one event that
// hangs, and until its message comes here. After that they are stuck in a way that must
// not stop the lane.
func (ln *lane) claimMost() time.Duration { return ln.loop.cfg.Hold + 2*laneAckWait }

// claim ends the claiming of the lane when nothing is un-acked but what has come here:
// the pin is taken from a worker, not what it has in hand, and the server shows what
// that worker lost in no particular order, and newer events meanwhile. Only when all is
// together it is begun, in order.
func (ln *lane) claim(intake, work context.Context, consumer jetstream.Consumer, handlers *sync.WaitGroup) error {
	ctx, cancel := ln.loop.bus.linkedFor(intake, repairTimeout)
	defer cancel()
	info, err := consumer.Info(ctx)
	if err != nil {
		return err //nolint:wrapcheck // as in loop.find
	}
	if info.NumAckPending > len(ln.claimed) {
		if time.Since(ln.claiming) < ln.claimMost() {
			return nil
		}
		ln.loop.log.Warn("another worker has had events of a lane in hand for too long, going on without them",
			"lane", ln.name, "events", info.NumAckPending-len(ln.claimed))
	}
	ln.claiming = time.Time{}
	for _, t := range ln.unclaim() {
		ln.queue(intake, work, t, handlers)
	}
	return nil
}

// giveUp hands back what was laid aside, for the next to claim it. Who keeps it without
// the pin would wait for the next one, and that one for him.
func (ln *lane) giveUp() {
	for _, t := range ln.unclaim() {
		t.nak(0)
		ln.hand.release(1)
	}
	ln.claiming = time.Time{}
}

// unclaim is what was laid aside, in order.
func (ln *lane) unclaim() []*task {
	all := slices.SortedFunc(maps.Values(ln.claimed), func(a, b *task) int { return cmp.Compare(a.sequence, b.sequence) })
	clear(ln.claimed)
	return all
}
