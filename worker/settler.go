package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// How long the outcome of a try may take to be written down: in all, and once the
// process has to end. Then the intent stays due.
const (
	settleWithin = 30 * time.Second
	settleLast   = 5 * time.Second
)

// writeWithin bounds one attempt at one write: an ack that was lost must not use up
// the time of all attempts.
const writeWithin = 5 * time.Second

// settler writes down what came of a try and publishes what ended with it.
//
// An intent leaves the due set last. Until its record is in the records stream, or
// its failure in the failed stream, it is unknown and due, and says what TeleSign
// answered; so a crash at any point leaves it to the reaper, and nothing is lost.
type settler struct {
	store        *store.Store
	bus          *bus.Bus
	within, last time.Duration
	metrics      *Metrics
	log          *slog.Logger
}

// settle does not end with ctx: what TeleSign has done cannot be asked for again.
func (s *settler) settle(ctx context.Context, id string, disposition messages.Disposition, r store.Resolution) {
	ctx, cancel := s.outlive(ctx)
	defer cancel()
	if err := s.writeDown(ctx, id, disposition, r); err != nil {
		s.log.ErrorContext(ctx, "outcome of a dial not written; its intent stays due and becomes unknown",
			"id", id, "status", r.Status, "outcome", r.Outcome, "call_id", r.CallID, "error", err)
	}
}

// outlive is a context for last writes: it ends after s.within, or s.last after ctx.
func (s *settler) outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	work, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.within)
	forget := context.AfterFunc(ctx, func() { time.AfterFunc(s.last, cancel) })
	return work, func() { forget(); cancel() }
}

func (s *settler) writeDown(ctx context.Context, id string, disposition messages.Disposition, r store.Resolution) error {
	if r.Status == messages.CallAccepted {
		_, err := s.resolve(ctx, id, r)
		return err
	}
	due := r
	due.Status = messages.CallUnknown
	settled, err := s.resolve(ctx, id, due)
	if err != nil || settled.Status != messages.CallUnknown { // an event was here first: there is a call
		return err
	}
	if r.Status == messages.CallUnknown {
		return s.keep(ctx, settled)
	}
	record := neverCalled(settled, disposition)
	if err := persist(ctx, func(ctx context.Context) error { return s.bus.PublishRecord(ctx, record) }); err != nil {
		return fmt.Errorf("publish the record: %w", err)
	}
	_, err = s.resolve(ctx, id, r)
	return err
}

func (s *settler) resolve(ctx context.Context, id string, r store.Resolution) (messages.Intent, error) {
	var settled messages.Intent
	err := persist(ctx, func(ctx context.Context) (err error) {
		settled, err = s.store.ResolveTry(ctx, id, r)
		return err
	})
	if err != nil {
		return settled, fmt.Errorf("write the outcome: %w", err)
	}
	return settled, nil
}

// keep hands an unknown dial to the failed stream.
func (s *settler) keep(ctx context.Context, unknown messages.Intent) error {
	failure := ambiguous(unknown, "the request may have reached TeleSign and no usable answer came back")
	if err := persist(ctx, func(ctx context.Context) error { return s.bus.Park(ctx, failure) }); err != nil {
		return fmt.Errorf("park it: %w", err)
	}
	s.metrics.failed(failure.Reason)
	if err := persist(ctx, func(ctx context.Context) error { return s.store.ClearDue(ctx, unknown.ID) }); err != nil {
		return fmt.Errorf("take it off the due set: %w", err)
	}
	return nil
}

// persist tries a write again, with growing delays, until it is done or ctx ends.
// What waiting does not cure is not tried again. The error is that of the last
// attempt.
func persist(ctx context.Context, write func(context.Context) error) error {
	policy := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(50*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(0), // ctx ends it
	)
	var last error
	err := backoff.Retry(func() error {
		attempt, cancel := context.WithTimeout(ctx, writeWithin)
		defer cancel()
		last = write(attempt)
		if last != nil && !mayPass(last) {
			return backoff.Permanent(last)
		}
		return last
	}, backoff.WithContext(policy, ctx))
	if err != nil {
		return last
	}
	return nil
}

// mayPass reports whether err is of a store or bus that is away, and not of what was
// asked of it.
func mayPass(err error) bool {
	code := messages.CodeOf(err)
	return code == messages.CodeUnavailable || code == messages.CodeTimeout
}

// neverCalled is the record of a dial that never became a call.
func neverCalled(intent messages.Intent, disposition messages.Disposition) messages.Record {
	return messages.Record{
		Schema: messages.RecordSchema, ExternalID: intent.ID, Revision: 1,
		Disposition: disposition, Status: intent.Outcome,
		Flow: intent.Flow, FlowHash: intent.FlowHash, Direction: call.Outbound,
		To: intent.To, From: intent.CallerID, Contact: intent.Contact,
		StartedAt: intent.TriedAt, EndedAt: intent.TriedAt,
	}
}

// ambiguous is the failure of a dial that may or may not have rung. Its body is the
// intent.
func ambiguous(intent messages.Intent, why string) messages.Failure {
	body, err := json.Marshal(intent)
	if err != nil { // a time beyond the year 9999, which cannot have been stored either
		body = []byte(intent.ID)
	}
	return messages.Failure{
		Kind: messages.FailureDial, Reason: messages.ReasonAmbiguous, Error: why, Attempts: intent.Attempt,
		Subject: messages.JobSubject(messages.CampaignDirect, messages.ZoneAny), Body: body,
	}
}
