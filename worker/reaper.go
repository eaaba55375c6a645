package worker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/store"
)

// How the reaper works: often enough that an operator sees a lost dial within
// seconds of its time, in small bites so that a burst of them delays nothing else.
const (
	reapEvery = 5 * time.Second
	reapBatch = 100
)

// giveUpWithin bounds the three writes that give up one intent.
const giveUpWithin = 5 * time.Second

// outcomeLost is the outcome of a try that nobody wrote one down for.
const outcomeLost = "no_outcome"

// Reaper turns intents whose outcome never came, because the process that sent
// them died, into unknown. It dials nobody: an unknown call is resolved by an event
// that carries its external_id, or by an operator.
type Reaper struct {
	store *store.Store
	bus   *bus.Bus
	every time.Duration
	log   *slog.Logger
}

// NewReaper makes a reaper. Several may run: a resolution happens once. A dial that
// two of them look at in the same moment may be in the failed stream twice.
func NewReaper(st *store.Store, b *bus.Bus, log *slog.Logger) *Reaper {
	return &Reaper{store: st, bus: b, every: reapEvery, log: log}
}

// Run reaps until ctx ends.
func (r *Reaper) Run(ctx context.Context) error {
	tick := time.NewTicker(r.every)
	defer tick.Stop()
	for {
		if err := r.reap(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "due dials not given up; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// reap gives up what is due now, one batch of it. One intent that cannot be given up
// does not keep the others; a store or bus that is away does.
func (r *Reaper) reap(ctx context.Context) error {
	ids, err := r.store.DueIntents(ctx, reapBatch)
	if err != nil {
		return err
	}
	var failures []error
	for _, id := range ids {
		if ctx.Err() != nil {
			break
		}
		err := r.giveUp(ctx, id)
		if err == nil {
			continue
		}
		failures = append(failures, fmt.Errorf("intent %s: %w", id, err))
		if mayPass(err) {
			break
		}
	}
	return errors.Join(failures...)
}

// giveUp makes a due intent unknown, unless an event or the dialer has settled it
// meanwhile, keeps the failure and takes the intent off the due set. An unknown one
// is due until its failure is kept: a crash in between shows it twice rather than
// never. What is begun is finished, also when ctx ends.
func (r *Reaper) giveUp(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveUpWithin)
	defer cancel()
	intent, err := r.store.ResolveTry(ctx, id, store.Resolution{Status: messages.CallUnknown, Outcome: outcomeLost})
	switch {
	case messages.CodeOf(err) == messages.CodeNotFound:
		r.log.ErrorContext(ctx, "a dial's outcome never came, and its intent has expired", "id", id)
	case err != nil:
		return err
	case intent.Status == messages.CallUnknown:
		if err := r.bus.Park(ctx, ambiguous(intent, "the process that dialled ended before it had settled the outcome")); err != nil {
			return err
		}
		r.log.WarnContext(ctx, "a dial's outcome never came; it is unknown and will not be sent again", "id", id, "outcome", intent.Outcome)
	}
	return r.store.ClearDue(ctx, id)
}
