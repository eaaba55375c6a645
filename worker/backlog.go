package worker

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/messages/bus"
)

// How a worker catches up.
const (
	backlogPoll = 20 * time.Millisecond
	// backlogLinger is how long it waits for what others have in hand, once everything
	// has been given out: an event that is retried must not keep callers on hold.
	backlogLinger = time.Second
	backlogMost   = 10 * time.Second // and at most so long in all
)

// backlog says whether events wait from a time when no worker consumed. They are processed
// as fast as may be, many at once and by all workers that start: an event, the report
// of the hold that it was answered with, and the end of that hold are under way at the
// same moment. Whatever is decided for somebody who waits would be decided without
// knowing the rest.
type backlog struct{ waiting atomic.Bool }

// Consume consumes the events stream until ctx ends. If events have waited for so long
// that their callers were put on hold, because no worker ran or none had NATS, then
// those that wait still, and those that come until the others are processed, are
// answered with a hold and join the late lane.
func (h *Events) Consume(ctx context.Context, c bus.ConsumerConfig) error {
	watch, stop := context.WithCancel(ctx)
	var watching sync.WaitGroup
	h.backlog.waiting.Store(h.behind(ctx))
	watching.Go(func() { h.watchBacklog(watch) })
	err := h.bus.ConsumeEvents(ctx, c, h.Handle)
	stop()
	watching.Wait()
	return err
}

// watchBacklog catches up when there is a backlog at the beginning, and whenever this
// worker has been without NATS.
func (h *Events) watchBacklog(ctx context.Context) {
	for {
		if h.backlog.waiting.Load() {
			h.catchUp(ctx)
			h.backlog.waiting.Store(false)
		}
		for h.bus.Connected() {
			if !pause(ctx, backlogPoll) {
				return
			}
		}
		h.backlog.waiting.Store(true) // what comes first after the outage is not to be decided yet
		for !h.bus.Connected() {
			if !pause(ctx, backlogPoll) {
				return
			}
		}
		h.backlog.waiting.Store(h.behind(ctx))
	}
}

// behind reports whether an event that is not processed may have missed its window,
// be it with no worker yet or with one that has just begun to catch up. One that is
// being retried is no backlog.
func (h *Events) behind(ctx context.Context) bool {
	lag, err := h.bus.Lag(ctx)
	if err != nil {
		return false
	}
	missed := h.bus.AnswerWithin() * 4 / 5
	return lag.Unseen >= missed || lag.Redelivered == 0 && lag.Oldest >= missed
}

// catchUp ends the backlog once everything that waits now has been processed.
func (h *Events) catchUp(ctx context.Context) {
	h.log.InfoContext(ctx, "events have waited for a worker; callers hold until these are processed")
	began, target, given := time.Now(), uint64(0), time.Time{}
	for {
		p, err := h.bus.Progress(ctx)
		now := time.Now()
		if err == nil && target == 0 {
			target = p.Last
		}
		if err == nil && p.Delivered >= target && given.IsZero() {
			given = now
		}
		switch {
		case err == nil && p.Processed >= target, !given.IsZero() && now.Sub(given) >= backlogLinger:
			h.log.InfoContext(ctx, "the events that waited are processed", "took", now.Sub(began).Round(time.Millisecond))
			return
		case now.Sub(began) >= backlogMost:
			h.log.WarnContext(ctx, "the events that waited are still not processed; going on without them", "processed", p.Processed, "of", target, "error", err)
			return
		case !pause(ctx, backlogPoll):
			return
		}
	}
}

// pause waits for d. False: ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
