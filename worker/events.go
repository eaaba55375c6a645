package worker

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// Events steps the calls that webhook events belong to. It is safe for concurrent
// use, also on the events of one call, and by any number of processes.
type Events struct {
	store    *store.Store
	bus      *bus.Bus
	catalog  *Catalog
	limits   call.Limits
	metrics  *Metrics
	outage   *outage
	backlog  backlog
	reporter *reporter
	turns    *turns
	tracing  tracing
	lagEvery time.Duration
	log      *slog.Logger
}

// NewEvents makes the handler of the events stream and of the late lane. Replies of b
// that reach nobody are its own from here on: there is one Events to a bus.
func NewEvents(st *store.Store, b *bus.Bus, catalog *Catalog, limits call.Limits, metrics *Metrics, log *slog.Logger) *Events {
	h := &Events{
		store: st, bus: b, catalog: catalog, limits: limits, metrics: metrics,
		reporter: newReporter(b, metrics, log), turns: newTurns(), lagEvery: lagEvery, log: log,
	}
	h.outage = newOutage(h.storeWorks, metrics, log)
	b.OnUndelivered(h.reporter.note)
	metrics.watch(b)
	return h
}

// UseTracer makes a span of every delivery, a child of the one that its event names.
// It is to be called before the first delivery; without it there are no spans, which
// costs nothing.
func (h *Events) UseTracer(t trace.Tracer) { h.tracing = tracing{t} }

// Run does what deliveries leave to be done: it asks for a store that is away,
// reports replies that found nobody, and looks at the streams for the metrics. It
// must run while anything is consumed, so it is to be started before the consumers
// and ended after them. When ctx ends it stores the reports that are left, for at
// most five seconds.
func (h *Events) Run(ctx context.Context) error {
	var parts sync.WaitGroup
	parts.Go(func() { h.outage.run(ctx) })
	parts.Go(func() { h.reporter.run(ctx) })
	parts.Go(func() { h.watchLag(ctx) })
	parts.Wait()
	return nil
}

// Why ingress is asked to hold, as a caller's timeline and ingress' log show it.
const (
	holdUnavailable = "unavailable" // nothing can be decided now; the event comes again, mostly from the late lane
	holdLate        = "late lane"   // earlier events of the call may wait in the late lane, so this one does too
	holdUnreadable  = "unreadable"  // the event is parked as poison
	holdFailed      = "failed"      // the event is parked because our code panicked on it
)

// Handle steps one delivery: load, step, commit, reply, publish; returning Done
// acknowledges it. While the store is away, the late lane has events of the same
// partition, or this worker has to catch up, the caller is put on hold at once and the event joins the lane: see
// HandleLate. When nothing can be decided for another reason, the caller is put on
// hold at once and the delivery comes again. What can never be stepped is parked.
//
// A crash between any two of these leaves a delivery that comes again: it is
// recognised by its event id, steps nothing, gets the same reply and publishes the
// same record.
func (h *Events) Handle(ctx context.Context, d bus.Delivery) bus.Result {
	ctx, span := h.tracing.delivery(ctx, d)
	defer span.end()
	h.metrics.delivered(d)
	switch {
	case h.outage.away():
		return h.postpone(ctx, d, span, holdUnavailable)
	case h.bus.LateWaiting(d.CallID), h.backlog.waiting.Load() && awaited(d):
		return h.postpone(ctx, d, span, holdLate)
	}
	result, away := h.handle(ctx, d, span)
	if away != nil {
		return h.postpone(ctx, d, span, holdUnavailable)
	}
	return result
}

// handle is Handle for a store that is there. If it is not, that is the error:
// nothing has been replied, and what is to be done with the delivery is open.
func (h *Events) handle(ctx context.Context, d bus.Delivery, span span) (result bus.Result, away error) {
	a, err := readArrival(d)
	if err != nil {
		return h.park(ctx, d, span, holdUnreadable, messages.ReasonPoison, err)
	}
	got, err := h.tryingStore(ctx, d, a)
	var panicked *panicError
	switch {
	case errors.As(err, &panicked):
		return h.park(ctx, d, span, holdFailed, messages.ReasonPanic, err)
	case storeAway(ctx, err):
		return bus.Result{}, err
	case err != nil:
		span.failed(holdUnavailable)
		h.hold(ctx, d, holdUnavailable)
		return h.retry(ctx, d, err), nil
	}
	span.decided(got)
	h.metrics.decided(d, got.decision)
	if err := h.reply(ctx, d, got.reply); err != nil {
		// Ingress will fall back and report it; the state is committed all the same.
		h.log.WarnContext(ctx, "reply not sent", "event_id", d.EventID, "error", err)
	}
	if err := h.publish(ctx, got.record); err != nil {
		return h.retry(ctx, d, err), nil
	}
	return bus.Done(), nil
}

// tryingStore is step when it is the call's turn, and notes when the store turns out
// to be away. Who had to wait for somebody that found it out does not ask it again.
func (h *Events) tryingStore(ctx context.Context, d bus.Delivery, a arrival) (stepped, error) {
	turn := h.turns.take(d.CallID)
	defer h.turns.give(d.CallID, turn)
	if h.outage.away() {
		return stepped{}, errStillAway
	}
	returns := h.outage.returns.Load()
	got, err := h.step(ctx, d, a)
	if storeAway(ctx, err) {
		h.outage.trip(returns, err)
	}
	return got, err
}

// park gives a delivery up. An event's call is told first, so that it goes on
// without the event: otherwise the report of the hold, about an event that the call
// has never seen, would keep the caller on hold until there may be no more holds.
func (h *Events) park(ctx context.Context, d bus.Delivery, span span, hold string, reason messages.FailureReason, why error) (result bus.Result, away error) {
	if d.Kind == messages.KindEvent {
		got, err := h.tryingStore(ctx, d, arrival{parked: true})
		if storeAway(ctx, err) {
			return bus.Result{}, err
		}
		if err == nil {
			err = h.publish(ctx, got.record)
		}
		if err != nil {
			h.hold(ctx, d, hold)
			return h.retry(ctx, d, fmt.Errorf("to be parked as %s: %w; its call could not be told: %w", reason, why, err)), nil
		}
	}
	span.failed(hold)
	h.hold(ctx, d, hold)
	h.metrics.failed(reason)
	return bus.Park(reason, why), nil
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
	return h.bus.Reply(ctx, d.Envelope, r)
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
	entry.Live, entry.Sum = awaited(d), crc32.ChecksumIEEE(d.Body)
	return entry
}
