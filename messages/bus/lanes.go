package bus

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// laneRetryMost bounds the loop's own delay between two attempts at an event of the
// late lane. What waits behind it is why it is short; a store that is away is waited
// for by ready, and costs no attempt.
const laneRetryMost = time.Second

// ConsumeLate runs handle for each event of the late lane until ctx ends, c.Slots at a
// time; it drains as ConsumeEvents does. The events of one partition are handled one
// after the other, in the order of the stream, by one worker at a time: each of the
// lanes is pinned to one of all the workers, which has up to 128 of its events in
// hand. When that worker dies or is stopped, another goes on within about five
// seconds, with what that one had in hand first; the two are never at work on one
// partition at the same time, unless the first was stopped in the middle of an event
// and goes on afterwards.
//
// ready is called before each pull, and before each further attempt at an event; it
// blocks while the store is away, so that an outage uses up no deliveries. An error
// from it is logged, and it is called again.
//
// Done acks. Park parks, as does a panic or a message that is not an envelope. Retry
// keeps the event here and the others of its partition behind it, and handles it again
// after the delay, of at most a second when it is the loop's own choice; each counts as
// an attempt like a delivery does, and after c.MaxAttempts it is parked as exhausted.
// At the end of ctx what is waiting for its retry is handed back, with all that is
// behind it. A Delivery's Sequence is the one it had in the events stream.
//
// While it runs it keeps what LateWaiting tells.
func (b *Bus) ConsumeLate(ctx context.Context, c ConsumerConfig, ready func(context.Context) error, handle func(ctx context.Context, d Delivery) Result) error {
	l := &loop{
		stream:   messages.StreamLate,
		consumer: messages.ConsumerLate + "*",
		kind:     messages.FailureEvent,
		ackWait:  laneAckWait,
		handle: envelopes(func(ctx context.Context, t *task, env messages.Envelope) Result {
			return handle(ctx, Delivery{Envelope: env, Attempt: t.attempt, Sequence: env.Sequence, Stored: t.stored, Deferred: true})
		}),
	}
	if err := l.start(b, c); err != nil {
		return err
	}
	watching, stop := context.WithCancel(context.WithoutCancel(ctx))
	var watch sync.WaitGroup
	var watched error
	intake, end := context.WithCancel(ctx)
	defer end()
	watch.Go(func() {
		watched = b.late.watch(watching)
		end() // at once only if it could not begin
	})
	lanes := make([]*lane, messages.LateLanes)
	pulls := make([]puller, messages.LateLanes)
	for n := range lanes {
		lanes[n] = &lane{loop: l, name: laneName(n), ready: ready, hand: make(slots, laneHand), waiting: make(map[string][]*task), left: make(map[string]bool)}
		pulls[n] = puller{lanes[n].name, lanes[n].once}
	}
	failed := l.run(intake, pulls)
	leaving, cancel := context.WithTimeout(context.WithoutCancel(ctx), repairTimeout)
	defer cancel()
	for _, ln := range lanes {
		ln.leave(leaving)
	}
	stop()
	watch.Wait()
	return errors.Join(failed, watched)
}

// lane is one consumer of the late lane in this process. Its puller alone touches the
// fields up to claimed.
type lane struct {
	loop  *loop
	name  string
	ready func(context.Context) error
	hand  slots     // what it has in hand, or has asked for
	last  time.Time // when its last event came; it has, or had, the pin then
	pin   string    // under which that came

	claiming time.Time        // when it got a new pin; zero once what others had in hand is done
	claimed  map[uint64]*task // what has come since then, by sequence

	disturbed atomic.Bool // something was lost: it is to be claimed like another worker's

	mu      sync.Mutex
	waiting map[string][]*task // by subject: what waits for the one in work; no entry when none is
	left    map[string]bool    // by subject: partitions that are not gone on with
	back    []*task            // what is handed back in the end
}

// once makes one pull. After a failed one the pin is lost, or will be.
func (ln *lane) once(intake, work context.Context, consumer jetstream.Consumer, handlers *sync.WaitGroup) error {
	err := ln.pull(intake, work, consumer, handlers)
	if err != nil {
		ln.giveUp()
	}
	if errors.Is(err, jetstream.ErrPinIDMismatch) || intake.Err() != nil {
		return nil // another worker has the lane; nats.go has forgotten the pin
	}
	return err
}

// pull waits for room and for the store, and fetches.
func (ln *lane) pull(intake, work context.Context, consumer jetstream.Consumer, handlers *sync.WaitGroup) error {
	least := laneBatch / 2 // else, with all hands full, each pull would be for one
	if !ln.claiming.IsZero() {
		if err := ln.claim(intake, work, consumer, handlers); err != nil {
			return err
		}
		least = 0
	}
	n := ln.hand.reserve(intake, least, laneBatch)
	if intake.Err() != nil {
		ln.hand.release(n)
		return nil
	}
	if n == 0 { // it has claimed all there can be, and others are still at work on some
		pause(intake, claimEvery)
		return nil
	}
	used := 0
	defer func() { ln.hand.release(n - used) }()
	if !ln.claiming.IsZero() && !ln.readyWithin(intake, lanePinned/2) {
		ln.giveUp() // the pin runs out, and the next worker waits for what is laid aside here
	}
	if err := ln.ready(intake); err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	return ln.fetch(intake, work, consumer, n, &used, handlers)
}

// readyWithin is whether ready lets it go on before d is over.
func (ln *lane) readyWithin(intake context.Context, d time.Duration) bool {
	ctx, cancel := context.WithTimeout(intake, d)
	defer cancel()
	return ln.ready(ctx) == nil
}

// fetch pulls for n events. A lane that is not idle pulls for a short time, which keeps
// its pin, and ends that pull before it drains.
func (ln *lane) fetch(intake, work context.Context, consumer jetstream.Consumer, n int, used *int, handlers *sync.WaitGroup) error {
	l := ln.loop
	if err := l.connected(); err != nil {
		return err
	}
	expiry, until := laneIdle, intake
	if ln.active() {
		expiry, until = laneActive, work
	}
	ctx, cancel := l.bus.linkedFor(until, expiry*10/9) // nats.go asks the server for nine tenths
	defer cancel()
	began := time.Now()
	batch, err := consumer.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchPriorityGroup(laneGroup))
	if err != nil {
		return err //nolint:wrapcheck // as in loop.find
	}
	claim := time.NewTicker(claimEvery)
	defer claim.Stop()
	incoming := batch.Messages()
	var failed error
	for {
		select {
		case msg, ok := <-incoming:
			if !ok {
				return cmp.Or(failed, batch.Error()) //nolint:wrapcheck // as in loop.find
			}
			if l.stale(began, expiry) {
				continue
			}
			if t := l.take(msg); t != nil {
				*used++
				ln.receive(intake, work, t, handlers)
			}
		case <-claim.C:
			if ln.claiming.IsZero() || failed != nil {
				continue
			}
			if failed = ln.claim(intake, work, consumer, handlers); failed != nil {
				cancel()
			}
		}
	}
}

// active reports whether this worker may have the pin and wants to keep it.
func (ln *lane) active() bool { return !ln.claiming.IsZero() || time.Since(ln.last) < lanePinned }

// leave gives the lane up, so that another worker need not wait until its pin and its
// ack-wait run out. Nothing may be pulled any more: what is handed back would come here
// again.
func (ln *lane) leave(ctx context.Context) {
	active := ln.active()
	ln.giveUp()
	for _, t := range ln.back {
		t.nak(0)
	}
	if !active || !ln.loop.bus.nc.IsConnected() {
		return
	}
	s, err := ln.loop.bus.js.Stream(ctx, messages.StreamLate)
	if err == nil {
		err = s.UnpinConsumer(ctx, ln.name, laneGroup)
	}
	if err != nil {
		ln.loop.log.Warn("a lane could not be given up; another worker takes it in a moment", "lane", ln.name, "in", lanePinned, "error", err)
	}
}
