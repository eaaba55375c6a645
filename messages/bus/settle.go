package bus

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/offhook/offhook/messages"
)

// settle does what the handler's result asks for. It goes on when the drain time is
// over: its requests have time limits of their own.
func (t *task) settle(work context.Context, r JobResult) {
	l := t.loop
	switch {
	case r.verdict == verdictDone:
		t.ack(work, r.After)
	case r.verdict == verdictPark:
		t.park(work, r.reason, r.err)
	case t.attempt >= l.cfg.MaxAttempts:
		t.park(work, messages.ReasonExhausted, fmt.Errorf("%d deliveries were used up, the last failed: %w", t.attempt, cause(r.err)))
	default:
		t.nak(t.retry(r, retryDelay(t.attempt)))
	}
}

// retry is the delay before the next attempt, otherwise if the handler leaves it to the
// loop. It counts and logs that there will be one.
func (t *task) retry(r JobResult, otherwise time.Duration) time.Duration {
	delay := r.after
	if delay <= 0 {
		delay = otherwise
	}
	if t.attempt >= 3 { // the first two tell of a hiccup, and there may be thousands of them
		t.loop.log.Warn("a message could not be processed, trying again", "sequence", t.sequence, "attempt", t.attempt, "in", delay, "error", r.err)
	}
	t.loop.bus.counts.retried.Add(1)
	return delay
}

// ack acks the message and, where acks are confirmed, runs after once it is.
func (t *task) ack(work context.Context, after func(context.Context)) {
	l := t.loop
	t.hold.release()
	if !l.confirm {
		if err := t.msg.Ack(); err != nil {
			l.log.Warn("an ack could not be sent; the message will come again", "sequence", t.sequence, "error", err)
		}
		return
	}
	if !t.confirmAck(work) {
		return
	}
	if after != nil {
		t.runAfter(work, after)
	}
}

// confirmAck acks and waits for the server's word that it has the ack.
func (t *task) confirmAck(work context.Context) bool {
	ctx, cancel := t.loop.bus.lastWord(work)
	defer cancel()
	if err := t.msg.DoubleAck(ctx); err != nil {
		t.loop.log.Warn("an ack was not confirmed; the message may come again", "sequence", t.sequence, "attempt", t.attempt, "error", err)
		return false
	}
	return true
}

// runAfter runs after, contained. Its message is acked, so a panic is parked beside
// it instead of coming back.
func (t *task) runAfter(work context.Context, after func(context.Context)) {
	defer func() {
		p := recover()
		if p == nil {
			return
		}
		err := fmt.Errorf("after its ack: %w", panicError(p))
		t.loop.log.Error("parking a job that was acked", "sequence", t.sequence, "error", err)
		if err := t.store(work, messages.ReasonPanic, err); err != nil {
			t.loop.log.Error("a failure could not be stored and is only in this log", "sequence", t.sequence, "error", err)
		}
	}()
	after(work)
}

func (t *task) nak(delay time.Duration) {
	t.hold.release()
	if err := t.msg.NakWithDelay(delay); err != nil {
		t.loop.log.Warn("a nak could not be sent; the message will come again after ack-wait", "sequence", t.sequence, "error", err)
	}
}

// park stores the message in the failed stream, then acks it. If it cannot be
// stored, or that is not known, it comes again and is parked then; the message id
// keeps it from being there twice.
func (t *task) park(work context.Context, reason messages.FailureReason, err error) {
	l := t.loop
	if stored := t.store(work, reason, err); stored != nil {
		delay := retryDelay(t.attempt)
		l.log.Error("a message could not be parked, trying again", "sequence", t.sequence, "reason", reason, "in", delay, "error", stored)
		t.nak(delay)
		return
	}
	l.bus.counts.parked.Add(1)
	l.log.Error("a message was parked", "sequence", t.sequence, "reason", reason, "attempts", t.attempt, "error", err)
	t.hold.release()
	t.confirmAck(work)
}

// store writes the failure. The id names this one message of this one stream: a
// replay of it has a sequence of its own, and so has a message of a stream that was
// deleted and made again, by its time.
func (t *task) store(work context.Context, reason messages.FailureReason, err error) error {
	ctx, cancel := t.loop.bus.lastWord(work)
	defer cancel()
	id := fmt.Sprintf("%s:%d:%d", t.loop.stream, t.sequence, t.stored.UnixNano())
	return t.loop.bus.park(ctx, messages.Failure{
		Kind:     t.loop.kind,
		Reason:   reason,
		Error:    cause(err).Error(),
		Attempts: t.attempt,
		Subject:  t.msg.Subject(),
		Sequence: t.sequence,
		Header:   t.msg.Headers(),
		Body:     t.msg.Data(),
	}, id)
}

// lastWord is the context of a final write: not ended by work, but by Timeout.
func (b *Bus) lastWord(work context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(work), b.cfg.Timeout)
}

// cause is err, or that none was given.
func cause(err error) error {
	if err == nil {
		return errors.New("the handler gave no reason")
	}
	return err
}

// panicError is a recovered panic with its stack.
func panicError(p any) error {
	return fmt.Errorf("panic: %v\n\n%s", p, debug.Stack())
}
