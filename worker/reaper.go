package worker

import (
	"context"
	"encoding/json"
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

// Reaper turns intents whose outcome never came, because the process that sent
// them died, into unknown. It dials nobody: an unknown call is resolved by an event
// that carries its external_id, or by an operator.
type Reaper struct {
	store *store.Store
	bus   *bus.Bus
	log   *slog.Logger
}

// NewReaper makes a reaper. Several may run: a resolution happens once.
func NewReaper(st *store.Store, b *bus.Bus, log *slog.Logger) *Reaper {
	return &Reaper{store: st, bus: b, log: log}
}

// Run reaps until ctx ends.
func (r *Reaper) Run(ctx context.Context) error {
	tick := time.NewTicker(reapEvery)
	defer tick.Stop()
	for {
		if err := r.reap(ctx); err != nil && ctx.Err() == nil {
			r.log.WarnContext(ctx, "due dials not looked at; trying again", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (r *Reaper) reap(ctx context.Context) error {
	ids, err := r.store.DueIntents(ctx, reapBatch)
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := r.giveUp(ctx, id); err != nil {
			return fmt.Errorf("intent %s: %w", id, err)
		}
	}
	return nil
}

// giveUp turns a due intent into unknown and takes it off the due set. The failure
// is kept first: a crash in between shows it twice rather than never.
func (r *Reaper) giveUp(ctx context.Context, id string) error {
	intent, err := r.store.Intent(ctx, id)
	if err != nil && messages.CodeOf(err) != messages.CodeNotFound {
		return err
	}
	if intent.Status == messages.CallDialing {
		if err := r.bus.Park(ctx, Ambiguous(intent, "the process that dialled ended before it wrote the outcome")); err != nil {
			return err
		}
		if _, err := r.store.ResolveTry(ctx, id, store.Resolution{Status: messages.CallUnknown, Outcome: "no_outcome"}); err != nil {
			return err
		}
		r.log.WarnContext(ctx, "a dial's outcome never came; it is unknown and will not be sent again", "id", id)
	}
	return r.store.ClearDue(ctx, id)
}

// Ambiguous is the failure of a dial that may or may not have rung.
func Ambiguous(intent messages.Intent, why string) messages.Failure {
	body, err := json.Marshal(intent)
	if err != nil { // strings and times always marshal
		body = []byte(intent.ID)
	}
	return messages.Failure{
		Kind: messages.FailureDial, Reason: messages.ReasonAmbiguous, Error: why, Attempts: intent.Attempt,
		FailedAt: time.Now().UTC(), Subject: messages.JobSubject(messages.CampaignDirect, messages.ZoneAny), Body: body,
	}
}
