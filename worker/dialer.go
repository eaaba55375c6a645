package worker

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/dial"
)

// dueSlack is how long after the longest possible POST an intent is given up as
// unknown. It covers the confirmation of the ack before the POST and the settling
// after it, so that the reaper does not judge a dial that is still being settled.
const dueSlack = settleWithin + 15*time.Second

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
	longest time.Duration // max_call_duration of each call
	fresh   time.Duration // see sendWithin
	settler settler
	metrics *Metrics
	tracing tracing
	log     *slog.Logger
}

// sendWithin is how old a begun try may be when it is sent. A process that was
// stopped in between finds its try given up: the reaper, or an operator, may have
// acted on it, so it must not ring any more. Far below dueSlack.
const sendWithin = 10 * time.Second

// NewDialer makes a dialer. timeout is the client's own, longest the
// max_call_duration of the calls, whole seconds up to TeleSign's four hours.
func NewDialer(st *store.Store, b *bus.Bus, client *dial.Client, timeout, longest time.Duration, metrics *Metrics, log *slog.Logger) *Dialer {
	s := settler{store: st, bus: b, within: settleWithin, last: settleLast, metrics: metrics, log: log}
	return &Dialer{store: st, bus: b, client: client, timeout: timeout, longest: longest, fresh: sendWithin, settler: s, metrics: metrics, log: log}
}

// UseTracer makes spans of what is done with a job, children of the one that the job
// names. It is to be called before the first job; without it there are none, which
// costs nothing. The POST is the client's to trace.
func (d *Dialer) UseTracer(t trace.Tracer) { d.tracing = tracing{t} }

// Handle begins the try of one job. What the job result does after the
// acknowledgement is the POST. A job that names no intent is parked; one that a newer
// version wrote is left to a newer worker.
func (d *Dialer) Handle(ctx context.Context, job messages.DialJob, _ int) bus.JobResult {
	if job.Intent.Schema > messages.IntentSchema {
		d.metrics.retried()
		return bus.JobResult{Result: bus.Retry(0, fmt.Errorf("intent %s was written by a newer version of offhook; leave it to a newer worker", job.Intent.ID))}
	}
	began := time.Now().Round(0) // the monotonic clock stands still while a machine sleeps
	ctx, span := d.tracing.job(ctx, "begin try", job)
	defer span.end()
	intent, begun, err := d.store.BeginTry(ctx, job.Intent, d.timeout+dueSlack)
	switch {
	case messages.CodeOf(err) == messages.CodeInvalid:
		span.failed(string(messages.ReasonRejected))
		d.metrics.failed(messages.ReasonRejected)
		return bus.JobResult{Result: bus.Park(messages.ReasonRejected, fmt.Errorf("begin try: %w", err))}
	case err != nil:
		span.failed("try not begun")
		d.metrics.retried()
		return bus.JobResult{Result: bus.Retry(0, fmt.Errorf("begin try: %w", err))}
	case !begun:
		d.log.InfoContext(ctx, "dial job dropped: its intent has been tried", "id", job.Intent.ID, "status", intent.Status)
		return bus.JobResult{Result: bus.Done()}
	}
	return bus.JobResult{Result: bus.Done(), After: func(ctx context.Context) {
		ctx, span := d.tracing.job(ctx, "dial", job)
		defer span.end()
		span.outcome(d.try(ctx, intent, began))
	}}
}

// try sends one intent to TeleSign, once, writes down what came of it, and says it in
// a word. What is too late is not sent.
func (d *Dialer) try(ctx context.Context, intent messages.Intent, began time.Time) string {
	if time.Now().After(intent.NotAfter) || time.Since(began) > d.fresh {
		d.metrics.dialled(string(messages.DispositionExpired))
		d.log.WarnContext(ctx, "not dialled: its time ran out", "id", intent.ID, "to", messages.Number(intent.To), "not_after", intent.NotAfter, "begun_ago", time.Since(began))
		d.settler.settle(ctx, intent.ID, messages.DispositionExpired, store.Resolution{Status: messages.CallRefused, Outcome: string(messages.DispositionExpired)})
		return string(messages.DispositionExpired)
	}
	outcome := d.client.Dial(ctx, telesign.Dial{
		To: intent.To, CallerIDNumber: intent.CallerID, ExternalID: intent.ID, MaxCallDuration: d.longest,
	})
	d.metrics.dialled(string(outcome.Kind))
	d.settler.settle(ctx, intent.ID, outcome.Disposition(), store.Resolution{
		Status: outcome.CallStatus(), HTTPStatus: outcome.HTTPStatus, Outcome: outcome.Word(), CallID: outcome.ReferenceID,
	})
	return string(outcome.Kind)
}
