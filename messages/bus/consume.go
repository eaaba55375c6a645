package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// pullsInFlight is how many pulls one loop keeps open: the second hides the round
// trip of the first. More would only add to what a stopped worker can hold.
const pullsInFlight = 2

// The causes a handler's context can be cancelled with.
var (
	errDrainOver = errors.New("shutting down: the drain time is over")
	errHoldOver  = errors.New("the handler's time is over: its message may be delivered to somebody else")
)

// ConsumeEvents runs handle for each delivery of the events stream, c.Slots at a
// time, until ctx ends; then it fetches nothing more, waits for the handlers and
// returns nil. Handlers get a context of their own: it outlives ctx by c.Drain at
// most, and c.Hold bounds each of them. An error means that the loop could not go
// on, not that a handler failed.
//
// What happens to a message: Done acks it. Retry naks it with a delay; when
// c.MaxAttempts deliveries are used up it is parked as exhausted, by the last one or,
// if that one's worker died, before the next reaches a handler. A message that is not
// an envelope, and one that makes handle panic, are parked. To park is to store in
// the failed stream and then ack; if it cannot be stored the message is nakked and
// comes back. Nothing is ever dropped, and everything may be delivered twice.
//
// The loop survives the loss of NATS, of its connection and of its consumer, which
// it creates again.
func (b *Bus) ConsumeEvents(ctx context.Context, c ConsumerConfig, handle func(ctx context.Context, d Delivery) Result) error {
	return b.consume(ctx, c, &loop{
		stream:   messages.StreamEvents,
		consumer: messages.ConsumerEvents,
		kind:     messages.FailureEvent,
		ackWait:  b.cfg.ackWait(),
		handle: envelopes(func(ctx context.Context, t *task, env messages.Envelope) Result {
			return handle(ctx, Delivery{Envelope: env, Attempt: t.attempt, Sequence: t.sequence, Stored: t.stored})
		}),
	})
}

// envelopes is a loop's handler for messages that are envelopes.
func envelopes(handle func(ctx context.Context, t *task, env messages.Envelope) Result) func(context.Context, *task) JobResult {
	return func(ctx context.Context, t *task) JobResult {
		env, err := messages.ParseEnvelope(t.msg.Headers(), t.msg.Data())
		if err != nil {
			return JobResult{Result: Park(messages.ReasonPoison, err)}
		}
		t.name(env.EventID, env.CallID)
		return JobResult{Result: handle(ctx, t, env)}
	}
}

// ConsumeJobs is ConsumeEvents for the dial jobs that belong to no campaign. Its
// acks are confirmed, and JobResult.After runs only when they are.
func (b *Bus) ConsumeJobs(ctx context.Context, c ConsumerConfig, handle func(ctx context.Context, j messages.DialJob, attempt int) JobResult) error {
	return b.consume(ctx, c, &loop{
		stream:   messages.StreamJobs,
		consumer: messages.ConsumerDirect,
		kind:     messages.FailureJob,
		ackWait:  jobAckWait,
		confirm:  true,
		handle: func(ctx context.Context, t *task) JobResult {
			var j messages.DialJob
			if err := json.Unmarshal(t.msg.Data(), &j); err != nil {
				return JobResult{Result: Park(messages.ReasonPoison, fmt.Errorf("dial job: %w", err))}
			}
			t.name(j.Intent.ID, "")
			return handle(ctx, j, t.attempt)
		},
	})
}

// loop is one consume loop. The pulls own the slots they have reserved; each
// message takes one of them along to the goroutine that handles and settles it. Those
// goroutines stay: a new one would have to grow its stack for each message.
type loop struct {
	stream, consumer string
	kind             messages.FailureKind
	ackWait          time.Duration
	confirm          bool // acks are waited for
	handle           func(ctx context.Context, t *task) JobResult

	bus   *Bus
	cfg   ConsumerConfig
	log   *slog.Logger
	slots slots
	queue chan jetstream.Msg // has room for a message of each slot; a handler waits for each
	holds *holds

	mu      sync.Mutex
	running map[*task]label // what is being handled, for the log of a drain
}

// label says what a task is about, as far as that is known.
type label struct{ id, call string }

// task is one delivery being handled.
type task struct {
	loop     *loop
	msg      jetstream.Msg
	hold     *hold
	attempt  int
	sequence uint64
	stored   time.Time
}

func (b *Bus) consume(ctx context.Context, c ConsumerConfig, l *loop) error {
	if err := l.start(b, c); err != nil {
		return err
	}
	l.queue = make(chan jetstream.Msg, l.cfg.Slots)
	pulls := make([]puller, pullsInFlight)
	for n := range pulls {
		pulls[n] = puller{l.consumer, l.fetch}
	}
	return l.run(ctx, pulls)
}

func (l *loop) start(b *Bus, c ConsumerConfig) error {
	l.bus, l.cfg = b, c.WithDefaults()
	if err := l.cfg.Validate(); err != nil {
		return err
	}
	l.log = b.log.With("stream", l.stream, "consumer", l.consumer)
	l.slots = make(slots, l.cfg.Slots)
	l.queue = make(chan jetstream.Msg)
	l.holds = newHolds(l.ackWait, l.log)
	l.running = make(map[*task]label)
	return nil
}

// puller keeps one consumer pulled. Its once makes one pull, waits for room before
// it if there is none, and gives each message that comes to a handler; it returns
// nil without having pulled when intake has ended.
type puller struct {
	consumer string
	once     func(intake, work context.Context, consumer jetstream.Consumer, handlers *sync.WaitGroup) error
}

func (l *loop) run(ctx context.Context, pullers []puller) error {
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var pulls, handlers sync.WaitGroup
	var failed error
	var once sync.Once
	for _, p := range pullers {
		pulls.Go(func() {
			if err := l.pull(ctx, work, p, &handlers); err != nil {
				once.Do(func() { failed = err })
			}
		})
	}
	for range cap(l.queue) {
		handlers.Go(func() {
			for msg := range l.queue {
				l.serve(work, msg)
			}
		})
	}
	pulls.Wait()
	close(l.queue)

	if names := l.names(); len(names) > 0 {
		l.log.Info("draining, waiting for handlers", "count", len(names), "handlers", names)
	}
	over := time.AfterFunc(l.cfg.Drain, func() {
		l.log.Warn("drain time is over, cancelling handlers", "after", l.cfg.Drain, "handlers", l.names())
		cancel(errDrainOver)
	})
	defer over.Stop()
	handlers.Wait()
	return failed
}

// pull pulls until ctx ends. It returns an error only when the bus was closed under
// it.
func (l *loop) pull(ctx, work context.Context, p puller, handlers *sync.WaitGroup) error {
	var consumer jetstream.Consumer
	for failures := 0; ctx.Err() == nil; {
		var err error
		if consumer == nil {
			consumer, err = l.find(ctx, p.consumer)
		}
		if err == nil {
			err = p.once(ctx, work, consumer, handlers)
		}
		if err == nil {
			failures = 0
			continue
		}
		if ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, nats.ErrConnectionDraining) {
			return messages.Errorf(messages.CodeUnavailable, "consuming %s: the connection was closed: %w", l.stream, err)
		}
		failures++
		consumer = nil
		l.recover(ctx, err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(delayAt(failures, 50*time.Millisecond, time.Second)):
		}
	}
	return nil
}

// repairTimeout bounds the requests a loop makes to find or make its consumer; until
// they are answered nothing is fetched.
const repairTimeout = 2 * time.Second

func (l *loop) find(ctx context.Context, consumer string) (jetstream.Consumer, error) {
	if err := l.connected(); err != nil {
		return nil, err
	}
	ctx, cancel := l.bus.linkedFor(ctx, repairTimeout)
	defer cancel()
	return l.bus.js.Consumer(ctx, l.stream, consumer) //nolint:wrapcheck // recover tells these errors apart and logs them with their place
}

// connected is why nothing can be pulled. Without a connection nothing is to be:
// nats.go would leave a subscription behind for each pull that fails.
func (l *loop) connected() error {
	switch {
	case l.bus.nc.IsConnected():
		return nil
	case l.bus.nc.IsClosed():
		return nats.ErrConnectionClosed
	}
	return errDisconnected
}

// fetch makes one pull, for as many messages as there are free slots, up to one
// pull's batch, and gives each that comes to a handler.
func (l *loop) fetch(intake, _ context.Context, consumer jetstream.Consumer, _ *sync.WaitGroup) error {
	n := l.slots.reserve(intake, 1, pullBatch)
	if n == 0 {
		return nil
	}
	used := 0
	defer func() { l.slots.release(n - used) }()
	if err := l.connected(); err != nil {
		return err
	}
	began := time.Now()
	batch, err := consumer.Fetch(n, jetstream.FetchMaxWait(pullExpiry))
	if err != nil {
		return err //nolint:wrapcheck // as in find
	}
	for msg := range batch.Messages() {
		if l.stale(began, pullExpiry) {
			continue
		}
		used++
		l.queue <- msg
	}
	return batch.Error() //nolint:wrapcheck // as in find
}

// stale reports whether this process was stopped, or starved, for so long that the
// server has given what this pull brings to somebody else. It must not be handled
// here as well.
func (l *loop) stale(began time.Time, expiry time.Duration) bool {
	if time.Since(began) <= expiry+l.ackWait {
		return false
	}
	l.bus.counts.stale.Add(1)
	return true
}

// recover looks at a failed pull. A consumer or stream that is gone is created
// again, as a restart of this process would do; everything else is waited for.
func (l *loop) recover(ctx context.Context, err error) {
	switch {
	case errors.Is(err, errDisconnected), !l.bus.nc.IsConnected(): // logged when it happened
	case errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrConsumerDeleted),
		errors.Is(err, jetstream.ErrStreamNotFound), errors.Is(err, nats.ErrNoResponders):
		l.log.Error("the consumer is gone, creating it again", "error", err)
		setup, cancel := l.bus.linkedFor(ctx, repairTimeout)
		defer cancel()
		if err := l.bus.Setup(setup); err != nil && ctx.Err() == nil {
			l.log.Error("the consumer could not be created", "error", err)
		}
	default:
		l.log.Warn("a pull failed, trying again", "error", err)
	}
}

// serve handles and settles a message, and releases its slot.
func (l *loop) serve(work context.Context, msg jetstream.Msg) {
	defer l.slots.release(1)
	if t := l.take(msg); t != nil {
		t.process(work)
	}
}

// take makes a task of a delivery and holds its message; nil when it is none.
func (l *loop) take(msg jetstream.Msg) *task {
	meta, err := msg.Metadata()
	if err != nil {
		l.log.Error("a message without delivery data came in; it cannot be acked", "subject", msg.Subject(), "error", err)
		return nil
	}
	if meta.NumDelivered > 1 {
		l.bus.counts.redelivered.Add(1)
	}
	return &task{
		loop: l, msg: msg, hold: l.holds.hold(msg, l.cfg.Hold),
		attempt: int(min(meta.NumDelivered, math.MaxInt32)), sequence: meta.Sequence.Stream, stored: meta.Timestamp,
	}
}

// process handles a delivery and settles it.
func (t *task) process(work context.Context) {
	defer t.finish()
	defer t.hold.release()
	t.settle(work, t.handle(work))
}

// handle runs the loop's handler, contained.
func (t *task) handle(work context.Context) (r JobResult) {
	l := t.loop
	t.name("", "")
	if t.attempt > l.cfg.MaxAttempts {
		return JobResult{Result: Park(messages.ReasonExhausted, fmt.Errorf(
			"%d deliveries were used up: the workers that had it died, or let it run out of time", t.attempt-1))}
	}
	ctx, cancel := context.WithTimeoutCause(work, l.cfg.Hold, errHoldOver)
	defer cancel()
	defer func() {
		if p := recover(); p != nil {
			r = JobResult{Result: Park(messages.ReasonPanic, panicError(p))}
		}
	}()
	return l.handle(ctx, t)
}

// names is what is being handled.
func (l *loop) names() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := make([]string, 0, len(l.running))
	for t, label := range l.running {
		name := label.id
		if name == "" {
			name = fmt.Sprintf("%s #%d", t.msg.Subject(), t.sequence)
		}
		if label.call != "" {
			name += " of call " + label.call
		}
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// name says what the task is about. An id that is not known is empty.
func (t *task) name(id, call string) {
	t.loop.mu.Lock()
	defer t.loop.mu.Unlock()
	t.loop.running[t] = label{id, call}
}

func (t *task) finish() {
	t.loop.mu.Lock()
	defer t.loop.mu.Unlock()
	delete(t.loop.running, t)
}
