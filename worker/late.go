package worker

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// lateRetry is how long the late lane waits, once the store is back, before it tries
// again what failed because the store was away.
const lateRetry = 50 * time.Millisecond

// errStillAway is a store that has not been asked, because somebody else found it away.
var errStillAway = fmt.Errorf("the store is away: %w", store.ErrUnavailable)

// StoreBack blocks while the store is away. It is what the late lane waits for before
// it fetches and before it tries again, so that an outage uses up no deliveries. The
// error is the cause of ctx's end.
func (h *Events) StoreBack(ctx context.Context) error { return h.outage.wait(ctx) }

// HandleLate steps one delivery of the late lane, as Handle does, but that nobody
// waits for a reply. If the store goes away meanwhile the delivery is to come again
// once StoreBack says so.
func (h *Events) HandleLate(ctx context.Context, d bus.Delivery) bus.Result {
	ctx, span := h.tracing.delivery(ctx, d)
	defer span.end()
	h.metrics.delivered(d)
	result, away := h.handle(ctx, d, span)
	if away == nil {
		return result
	}
	span.failed(holdUnavailable)
	h.metrics.retried()
	return bus.Retry(lateRetry, away)
}

// postpone puts a delivery in the late lane, after whoever waits has been told to
// hold: that must not wait for anything. It is logged when the store goes and comes
// back, not for each.
func (h *Events) postpone(ctx context.Context, d bus.Delivery, span span, reason string) bus.Result {
	span.failed(reason)
	h.hold(ctx, d, reason)
	if err := h.bus.Defer(ctx, d); err != nil {
		return h.retry(ctx, d, fmt.Errorf("put it in the late lane (%s): %w", reason, err))
	}
	h.metrics.deferred(reason)
	return bus.Done()
}

// probeCall is the id of a call that is nobody's, for probing.
const probeCall = "offhook probe"

// storeWorks asks the store whether it can do what a step needs: load and commit. One
// that answers and refuses writes, because it is a replica or full, is away too. It
// leaves one small key behind.
func (h *Events) storeWorks(ctx context.Context) error {
	if err := h.store.Ready(ctx); err != nil {
		return err
	}
	c, err := h.store.LoadCall(ctx, probeCall)
	if err != nil {
		return err
	}
	state, err := call.State{Schema: call.Schema}.Encode()
	if err != nil {
		return err
	}
	err = h.store.CommitCall(ctx, probeCall, store.Commit{Expect: c.Revision, State: state})
	if errors.Is(err, store.ErrConflict) { // another worker probes too
		return nil
	}
	return err
}
