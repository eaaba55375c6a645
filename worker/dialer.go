package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/dial"
)

// dueSlack is how long after the longest possible POST an intent is given up as
// unknown. It covers the writing of the outcome with its retries.
const dueSlack = 30 * time.Second

// Dialer turns dial jobs into calls: intent, ack, POST, in this order. The intent
// is committed to the store before the job is acknowledged, and the job is
// acknowledged, confirmed, before anything is sent: no redelivery can ever post.
// What a crash leaves in between is a due intent, which the reaper turns into
// unknown; it is never sent again.
type Dialer struct {
	store   *store.Store
	bus     *bus.Bus
	client  *dial.Client
	timeout time.Duration // of one POST
	metrics *Metrics
	log     *slog.Logger
}

// NewDialer makes a dialer. timeout is the client's own.
func NewDialer(st *store.Store, b *bus.Bus, client *dial.Client, timeout time.Duration, metrics *Metrics, log *slog.Logger) *Dialer {
	return &Dialer{store: st, bus: b, client: client, timeout: timeout, metrics: metrics, log: log}
}

// Handle begins the try of one job. What the job result does after the
// acknowledgement is the POST.
func (d *Dialer) Handle(ctx context.Context, job messages.DialJob, _ int) bus.JobResult {
	intent, begun, err := d.store.BeginTry(ctx, job.Intent, d.timeout+dueSlack)
	switch {
	case err != nil:
		return bus.JobResult{Result: bus.Retry(0, fmt.Errorf("begin try: %w", err))}
	case !begun:
		d.log.InfoContext(ctx, "dial job dropped: its intent has been tried", "id", job.Intent.ID, "status", intent.Status)
		return bus.JobResult{Result: bus.Done()}
	}
	return bus.JobResult{Result: bus.Done(), After: func(ctx context.Context) { d.try(ctx, intent) }}
}

// try sends one intent to TeleSign, once, and writes down what came of it.
func (d *Dialer) try(ctx context.Context, intent messages.Intent) {
	if time.Now().After(intent.NotAfter) {
		d.metrics.dialled(string(messages.DispositionExpired))
		d.settle(ctx, intent, messages.DispositionExpired, store.Resolution{Status: messages.CallRefused, Outcome: string(messages.DispositionExpired)})
		return
	}
	outcome := d.client.Dial(ctx, telesign.Dial{
		To: intent.To, CallerIDNumber: intent.CallerID, ExternalID: intent.ID,
	})
	d.metrics.dialled(string(outcome.Kind))
	d.settle(ctx, intent, outcome.Disposition(), store.Resolution{
		Status: outcome.CallStatus(), HTTPStatus: outcome.HTTPStatus, Outcome: outcome.Word(), CallID: outcome.ReferenceID,
	})
}

// settle writes the outcome of a try, and publishes what ended with it. It keeps
// trying as long as its context lives: until then the intent stays due.
func (d *Dialer) settle(ctx context.Context, intent messages.Intent, disposition messages.Disposition, r store.Resolution) {
	var settled messages.Intent
	again := backoff.WithContext(backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond), backoff.WithMaxElapsedTime(dueSlack)), ctx)
	err := backoff.Retry(func() error {
		var err error
		if settled, err = d.store.ResolveTry(ctx, intent.ID, r); err != nil {
			return fmt.Errorf("write the outcome: %w", err)
		}
		switch settled.Status {
		case messages.CallRefused:
			return d.bus.PublishRecord(ctx, NeverCalled(settled, disposition))
		case messages.CallUnknown:
			return d.bus.Park(ctx, Ambiguous(settled, "the request may have reached TeleSign and no usable answer came back"))
		case messages.CallAccepted, messages.CallQueued, messages.CallDialing, messages.CallLive, messages.CallEnded:
		}
		return nil
	}, again)
	if err != nil {
		d.log.ErrorContext(ctx, "outcome of a dial not written; its intent stays due and becomes unknown", "id", intent.ID, "status", r.Status, "error", err)
	}
}

// NeverCalled is the record of a dial that never became a call.
func NeverCalled(intent messages.Intent, disposition messages.Disposition) messages.Record {
	return messages.Record{
		Schema: messages.RecordSchema, ExternalID: intent.ID, Revision: 1,
		Disposition: disposition, Status: intent.Outcome,
		Flow: intent.Flow, FlowHash: intent.FlowHash, Direction: "outbound",
		To: intent.To, From: intent.CallerID, Contact: intent.Contact,
		StartedAt: intent.TriedAt, EndedAt: intent.TriedAt,
	}
}
