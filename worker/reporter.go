package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// reportLast is how long the reporter goes on once its process has to end.
const reportLast = 5 * time.Second

// undelivered is a reply of ours that found nobody.
type undelivered struct {
	callID, eventID string
	at              time.Time
}

// reporter tells calls that a reply found no ingress: what the caller heard is
// unknown, and a copy of the event gets the same answer. It holds as many as there
// are: each is two ids, and they come no faster than replies go out.
type reporter struct {
	bus     *bus.Bus
	last    time.Duration
	metrics *Metrics
	log     *slog.Logger
	wake    chan struct{} // has a value when something was noted

	mu      sync.Mutex
	waiting []undelivered
}

func newReporter(b *bus.Bus, metrics *Metrics, log *slog.Logger) *reporter {
	return &reporter{bus: b, last: reportLast, metrics: metrics, log: log, wake: make(chan struct{}, 1)}
}

// note never blocks: it runs where all replies and confirmations of the process come
// in.
func (r *reporter) note(callID, eventID string) {
	r.metrics.undelivered()
	r.mu.Lock()
	r.waiting = append(r.waiting, undelivered{callID, eventID, time.Now()})
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// run reports until ctx ends, and then, for r.last, what is left. What cannot be
// reported by then is in the log.
func (r *reporter) run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-r.wake:
			r.report(ctx)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.last)
	defer cancel()
	r.report(last)
	for _, u := range r.take() {
		r.log.ErrorContext(last, "not reported: a reply found no ingress, and its call does not know", "call_id", u.callID, "event_id", u.eventID)
	}
}

// report stores one report after another, oldest first, until all are stored or ctx
// ends. What ctx left undone waits on.
func (r *reporter) report(ctx context.Context) {
	all := r.take()
	for i, u := range all {
		env, err := u.envelope()
		if err == nil {
			err = persist(ctx, func(ctx context.Context) error { return r.bus.Tell(ctx, env) })
		}
		switch {
		case err == nil:
		case ctx.Err() != nil:
			r.putBack(all[i:])
			return
		default:
			r.log.ErrorContext(ctx, "a report cannot be stored: a reply found no ingress, and its call does not know", "call_id", u.callID, "event_id", u.eventID, "error", err)
		}
	}
}

func (r *reporter) take() []undelivered {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.waiting
	r.waiting = nil
	return all
}

func (r *reporter) putBack(rest []undelivered) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting = append(rest, r.waiting...)
}

// envelope is the report. Its id is made of the event's: a redelivery that finds
// nobody either says nothing new.
func (u undelivered) envelope() (messages.Envelope, error) {
	body, err := messages.Told{EventID: u.eventID, Answer: messages.ToldUnknown, Reason: "undelivered"}.Encode()
	if err != nil {
		return messages.Envelope{}, fmt.Errorf("encode the report: %w", err)
	}
	return messages.Envelope{
		Kind: messages.KindTold, EventID: u.eventID + "-undelivered", CallID: u.callID, Arrived: u.at.UTC(), Body: body,
	}, nil
}
