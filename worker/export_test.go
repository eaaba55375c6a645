package worker

import (
	"context"
	"log/slog"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// TraceNothing is what a delivery and a job cost a process without a tracer.
func TraceNothing(ctx context.Context, d bus.Delivery) {
	none := tracing{}
	_, s := none.delivery(ctx, d)
	s.decided(stepped{})
	s.failed(holdFailed)
	s.end()
	_, s = none.job(ctx, "dial", messages.DialJob{})
	s.outcome("accepted")
	s.end()
}

// Outage is the breaker by itself.
type Outage = outage

// NewOutage is a breaker that asks works.
func NewOutage(works func(context.Context) error, metrics *Metrics, log *slog.Logger) *Outage {
	return newOutage(works, metrics, log)
}

// Begun is what an operation that begins now is to say when it fails.
func (o *outage) Begun() uint64 { return o.returns.Load() }

// Trip says that an operation failed.
func (o *outage) Trip(begun uint64, err error) { o.trip(begun, err) }

// Away, Wait and Run are what the handlers use.
func (o *outage) Away() bool                     { return o.away() }
func (o *outage) Wait(ctx context.Context) error { return o.wait(ctx) }
func (o *outage) Run(ctx context.Context)        { o.run(ctx) }

// StoreAway reports whether the breaker is open.
func (h *Events) StoreAway() bool { return h.outage.away() }

// Probes is how often the breaker has asked the store.
func (h *Events) Probes() uint64 { return h.outage.probes.Load() }

// Undelivered says that a reply found nobody.
func (h *Events) Undelivered(callID, eventID string) { h.reporter.note(callID, eventID) }

// ReportLast shortens how long reports are stored after the end.
func (h *Events) ReportLast(d time.Duration) { h.reporter.last = d }

// LagEvery makes Run look at the streams more often.
func (h *Events) LagEvery(d time.Duration) { h.lagEvery = d }

// Reap makes one pass.
func (r *Reaper) Reap(ctx context.Context) error { return r.reap(ctx) }

// GiveUp gives up one intent, as a pass does that has listed it before.
func (r *Reaper) GiveUp(ctx context.Context, id string) error { return r.giveUp(ctx, id) }

// Refresh does what Run does each hour.
func (c *Catalog) Refresh(ctx context.Context) { c.refresh(ctx) }

// SettleWithin shortens the time an outcome may take to be written down.
func (d *Dialer) SettleWithin(within, last time.Duration) {
	d.settler.within, d.settler.last = within, last
}

// SendWithin shortens how old a begun try may be when it is sent.
func (d *Dialer) SendWithin(fresh time.Duration) { d.fresh = fresh }

// Every makes Run reap more often.
func (r *Reaper) Every(d time.Duration) { r.every = d }

// Every makes Run refresh more often.
func (c *Catalog) Every(d time.Duration) { c.every = d }
