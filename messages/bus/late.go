package bus

import (
	"context"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// How often the stream is asked whether the late lane is drained: while something is
// known to wait, and otherwise. The subscription tells of a new deferral at once; what
// it cannot tell is that the last one is gone, nor what it missed.
const (
	lookMarked = 100 * time.Millisecond
	lookIdle   = time.Second
)

// late is what this process knows of the late lane: which partitions may have events
// waiting. It errs on the side of waiting, which costs a caller a hold; the other error
// would cost the order of a call's events.
type late struct {
	bus      *Bus
	clock    atomic.Uint64                      // numbers the marks
	marks    [messages.Partitions]atomic.Uint64 // the number of the latest mark; 0: drained
	inFlight [messages.Partitions]atomic.Int32  // deferrals by this process that are not confirmed yet
	wake     chan struct{}                      // a drained partition was marked

	looking sync.Mutex
	stream  jetstream.Stream // needs looking; nil until first asked
	// empty is the mark under which the latest look found the partition without
	// events; needs looking. Only the second such look counts: the subscription may
	// tell of a deferral before the stream has stored it.
	empty [messages.Partitions]uint64
}

func newLate(b *Bus) *late { return &late{bus: b, wake: make(chan struct{}, 1)} }

// LateWaiting reports whether the late lane of the call's partition holds events that
// are still to be stepped, as far as this process knows; then an event of the call is
// not to be stepped ahead of them. It costs no I/O. Setup looks at the lane once;
// from then on ConsumeLate keeps the knowledge: it hears of every deferral as it is
// published, and asks the stream until the lane is drained. A deferral of this process
// counts from before it is published. Without ConsumeLate what was once marked stays
// marked.
func (b *Bus) LateWaiting(callID string) bool {
	p, ok := partition(messages.Partition(callID))
	return ok && (b.late.marks[p].Load() != 0 || b.late.inFlight[p].Load() > 0)
}

// Defer stores a delivery's envelope in the late lane, for whoever steps that, and
// returns once it is stored; the delivery can be acked then. Nobody waits for a reply
// to it any more. A delivery that comes from the late lane goes to its tail.
func (b *Bus) Defer(ctx context.Context, d Delivery) error {
	env := d.Envelope
	env.ReplyTo, env.Deadline, env.Sequence = "", time.Time{}, d.Sequence
	subject := messages.LateSubject(env.CallID)
	if p, ok := partition(messages.Partition(env.CallID)); ok {
		b.late.inFlight[p].Add(1)
		defer func() { // marked before it is no longer in flight: there is no moment between
			b.late.mark(p)
			b.late.inFlight[p].Add(-1)
		}()
	}
	if err := b.publish(ctx, &nats.Msg{Subject: subject, Header: env.Header(), Data: env.Body}); err != nil {
		return err
	}
	b.counts.deferred.Add(1)
	return nil
}

// partition is the number of a partition token.
func partition(token string) (int, bool) {
	p, err := strconv.Atoi(token)
	return p, err == nil && p >= 0 && p < messages.Partitions
}

// mark notes that partition p may have events waiting.
func (l *late) mark(p int) {
	for {
		old := l.marks[p].Load()
		if l.marks[p].CompareAndSwap(old, l.clock.Add(1)) {
			if old == 0 {
				select {
				case l.wake <- struct{}{}:
				default:
				}
			}
			return
		}
	}
}

func (l *late) marked() bool {
	for p := range l.marks {
		if l.marks[p].Load() != 0 {
			return true
		}
	}
	return false
}

// look asks the stream which partitions hold events. What was marked after the
// question was sent stays marked, whatever the answer is.
func (l *late) look(ctx context.Context) error {
	l.looking.Lock()
	defer l.looking.Unlock()
	var err error
	if l.stream == nil {
		if l.stream, err = l.bus.js.Stream(ctx, messages.StreamLate); err != nil {
			return err //nolint:wrapcheck // the callers say what it is about
		}
	}
	asked := l.clock.Load()
	info, err := l.stream.Info(ctx, jetstream.WithSubjectFilter(messages.SubjectsLate))
	if err != nil {
		l.stream = nil
		return err //nolint:wrapcheck // as above
	}
	var holds [messages.Partitions]bool
	for subject := range info.State.Subjects {
		if p, ok := lastToken(subject); ok {
			holds[p] = true
		}
	}
	for p := range l.marks {
		switch mark := l.marks[p].Load(); {
		case holds[p] && mark == 0:
			l.mark(p)
		case holds[p] || mark == 0 || mark > asked:
			l.empty[p] = 0
		case l.empty[p] != mark:
			l.empty[p] = mark
		default:
			l.marks[p].CompareAndSwap(mark, 0)
		}
	}
	return nil
}

func lastToken(subject string) (int, bool) {
	return partition(subject[strings.LastIndexByte(subject, '.')+1:])
}

// watch keeps the knowledge until ctx ends.
func (l *late) watch(ctx context.Context) error {
	sub, err := l.bus.nc.Subscribe(messages.SubjectsLate, func(m *nats.Msg) {
		if p, ok := lastToken(m.Subject); ok {
			l.mark(p)
		}
	})
	if err != nil {
		return publishError(messages.SubjectsLate, err)
	}
	defer func() { _ = sub.Unsubscribe() }() // fails only on a connection that is closed
	for failing := false; ; {
		linked := l.bus.linked.wait()
		err := l.ask(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err != nil && !failing && l.bus.Connected() {
			l.bus.log.Warn("the late lane could not be looked at; what is known of it may be old", "error", err)
		}
		failing = err != nil
		pause, wake := lookIdle, l.wake
		if failing || l.marked() {
			pause, wake = lookMarked, nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		case <-wake:
		case <-linked:
		}
	}
}

// ask is look with a time limit of its own, and no question without a connection.
func (l *late) ask(ctx context.Context) error {
	if !l.bus.Connected() {
		return errDisconnected
	}
	ctx, cancel := l.bus.linkedFor(ctx, repairTimeout)
	defer cancel()
	return l.look(ctx)
}

// bell wakes everybody who waits, once.
type bell struct {
	mu sync.Mutex
	c  chan struct{}
}

// wait is closed by the next ring.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c == nil {
		b.c = make(chan struct{})
	}
	return b.c
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.c != nil {
		close(b.c)
		b.c = nil
	}
}
