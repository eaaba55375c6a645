package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// Events steps the calls that webhook events belong to. It is safe for concurrent
// use, also on the events of one call, and by any number of processes.
type Events struct {
	store   *store.Store
	bus     *bus.Bus
	catalog *Catalog
	limits  call.Limits
	metrics *Metrics
	log     *slog.Logger
}

// NewEvents makes the handler of the events stream.
func NewEvents(st *store.Store, b *bus.Bus, catalog *Catalog, limits call.Limits, metrics *Metrics, log *slog.Logger) *Events {
	return &Events{store: st, bus: b, catalog: catalog, limits: limits, metrics: metrics, log: log}
}

// Why ingress is asked to hold, as a caller's timeline and ingress' log show it.
const (
	holdUnavailable = "unavailable" // nothing can be decided now; the event comes again
	holdUnreadable  = "unreadable"  // the event is parked as poison
	holdFailed      = "failed"      // the event is parked because our code panicked on it
)

// Handle steps one delivery: load, step, commit, reply, publish; returning Done
// acknowledges it. When nothing can be decided now, the caller is put on hold at
// once and the delivery comes again. What can never be stepped is parked.
//
// A crash between any two of these leaves a delivery that comes again: it is
// recognised by its event id, steps nothing, gets the same reply and publishes the
// same record.
func (h *Events) Handle(ctx context.Context, d bus.Delivery) bus.Result {
	a, err := readArrival(d)
	if err != nil {
		return h.park(ctx, d, holdUnreadable, messages.ReasonPoison, err)
	}
	got, err := h.step(ctx, d, a)
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		return h.park(ctx, d, holdFailed, messages.ReasonPanic, err)
	case err != nil:
		h.hold(ctx, d, holdUnavailable)
		return h.retry(ctx, d, err)
	}
	h.metrics.decided(d, got.decision)
	if err := h.reply(ctx, d, got.reply); err != nil {
		// Ingress will fall back and report it; the state is committed all the same.
		h.log.WarnContext(ctx, "reply not sent", "event_id", d.EventID, "error", err)
	}
	if err := h.publish(ctx, got.record); err != nil {
		return h.retry(ctx, d, err)
	}
	return bus.Done()
}

// park gives a delivery up. An event's call is told first, so that it goes on
// without the event: otherwise the report of the hold, about an event that the call
// has never seen, would keep the caller on hold until there may be no more holds.
func (h *Events) park(ctx context.Context, d bus.Delivery, hold string, reason messages.FailureReason, why error) bus.Result {
	h.hold(ctx, d, hold)
	if d.Kind == messages.KindEvent {
		got, err := h.step(ctx, d, arrival{parked: true})
		if err == nil {
			err = h.publish(ctx, got.record)
		}
		if err != nil {
			return h.retry(ctx, d, fmt.Errorf("to be parked as %s: %w; its call could not be told: %w", reason, why, err))
		}
	}
	h.metrics.failed(reason)
	return bus.Park(reason, why)
}

// retry hands a delivery back: the next one finishes what this one did not.
func (h *Events) retry(ctx context.Context, d bus.Delivery, err error) bus.Result {
	h.metrics.retried()
	h.log.WarnContext(ctx, "delivery not finished; it will come again", "event_id", d.EventID, "kind", d.Kind, "event", d.Event, "delivery", d.Attempt, "error", err)
	return bus.Retry(0, err)
}

func (h *Events) publish(ctx context.Context, record *messages.Record) error {
	if record == nil {
		return nil
	}
	if err := h.bus.PublishRecord(ctx, *record); err != nil {
		return fmt.Errorf("publish the call's record: %w", err)
	}
	return nil
}

// hold asks ingress to fall back at once. It is best effort: without it, ingress
// falls back at the end of the window.
func (h *Events) hold(ctx context.Context, d bus.Delivery, reason string) {
	if err := h.reply(ctx, d, messages.Reply{Verdict: messages.VerdictHold, Reason: reason}); err != nil {
		h.log.WarnContext(ctx, "hold not sent", "event_id", d.EventID, "error", err)
	}
}

// awaited reports whether ingress waits for a reply, as far as a worker can tell:
// the deadline is by another machine's clock, so that it is ingress who drops, and
// counts, what comes too late.
func awaited(d bus.Delivery) bool { return d.ReplyTo != "" && !d.Late }

// reply answers whoever waits, and counts decisions that are probably too late.
func (h *Events) reply(ctx context.Context, d bus.Delivery, r messages.Reply) error {
	if !awaited(d) {
		return nil
	}
	if !d.Deadline.IsZero() && time.Now().After(d.Deadline) && r.Verdict == messages.VerdictDecided {
		h.metrics.late()
	}
	return h.bus.Reply(ctx, d.ReplyTo, r)
}

// arrival is a delivery, read.
type arrival struct {
	event  telesign.Event // of KindEvent
	told   messages.Told  // of KindTold
	parked bool           // an event that will not be stepped; event is zero
}

func readArrival(d bus.Delivery) (arrival, error) {
	var a arrival
	var err error
	if d.Kind == messages.KindTold {
		a.told, err = messages.ParseTold(d.Body)
		return a, err
	}
	if a.event, err = telesign.ParseEvent(d.Body); err != nil {
		return a, err
	}
	if a.event.ReferenceID != d.CallID {
		return a, fmt.Errorf("the body is about call %q, the envelope about %q", a.event.ReferenceID, d.CallID)
	}
	return a, nil
}

// entry is the arrival as the call's log keeps it.
func (a arrival) entry(d bus.Delivery, facts *call.Facts) call.Entry {
	switch {
	case a.parked:
		return call.ParkedEntry(d.EventID, d.Arrived, d.Sequence, d.Late, d.Event)
	case d.Kind == messages.KindTold:
		return call.ToldEntry(d.EventID, d.Arrived, d.Sequence, d.Late, a.told)
	}
	entry := call.EventEntry(d.EventID, d.Arrived, d.Sequence, d.Late, a.event, facts)
	entry.Live = awaited(d)
	return entry
}
