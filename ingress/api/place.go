package api

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

// How long a placed call is wanted when the request does not say, and at most.
const (
	defaultNotAfter = 10 * time.Minute
	maxNotAfter     = 24 * time.Hour
	maxKey          = 200
)

// placeCall writes an intent and queues its job. The answer leaves once both are
// stored. A request that is repeated under the same key queues nothing new, or, if
// an earlier one died between the two, the job that is missing: an intent dials
// once however often its job is queued.
func (a *API) placeCall(w http.ResponseWriter, r *http.Request) (int, any, error) {
	var req messages.PlaceCall
	if err := readJSON(w, r, &req); err != nil {
		return 0, nil, err
	}
	intent, warnings, err := a.intentOf(r.Context(), req, time.Now().UTC())
	if err != nil {
		return 0, nil, err
	}
	stored, created, err := a.store.CreateIntent(r.Context(), intent)
	if err != nil {
		return 0, nil, fmt.Errorf("write intent: %w", err)
	}
	if !created && !sameCall(stored, intent) {
		return 0, nil, messages.FieldErrorf(messages.CodeConflict, "idempotency_key", "another call was placed with this key; use a new key for a new call")
	}
	if stored.Status == messages.CallQueued {
		if err := a.jobs.PublishJob(r.Context(), messages.DialJob{Intent: stored}); err != nil {
			return 0, nil, messages.Errorf(messages.CodeUnavailable, "the call was not queued; repeat the request with the same idempotency_key: %w", err)
		}
	}
	a.log.InfoContext(r.Context(), "call placed", "id", stored.ID, "to", messages.Number(stored.To), "flow", stored.Flow, "replayed", !created)
	return http.StatusAccepted, messages.PlacedCall{ID: stored.ID, Replayed: !created, Warnings: warnings}, nil
}

// intentOf is the intent that a request asks for, checked.
func (a *API) intentOf(ctx context.Context, req messages.PlaceCall, now time.Time) (messages.Intent, []string, error) {
	if req.CallerID == "" {
		req.CallerID = a.cfg.CallerID
	}
	var warnings []string
	for _, n := range []struct{ field, number string }{{"to", req.To}, {"caller_id_number", req.CallerID}} {
		if n.number == "" {
			return messages.Intent{}, nil, messages.FieldErrorf(messages.CodeInvalid, n.field, "is missing; give a complete number with country code, digits only")
		}
		warning, err := telesign.CheckNumber(n.number)
		if err != nil {
			return messages.Intent{}, nil, messages.FieldErrorf(messages.CodeInvalid, n.field, "%w", err)
		}
		if warning != "" {
			warnings = append(warnings, n.field+": "+warning)
		}
	}
	if len(req.Key) > maxKey {
		return messages.Intent{}, nil, messages.FieldErrorf(messages.CodeInvalid, "idempotency_key", "is %d bytes; at most %d are possible", len(req.Key), maxKey)
	}
	if req.NotAfter.IsZero() {
		req.NotAfter = now.Add(defaultNotAfter)
	}
	if !req.NotAfter.After(now) || req.NotAfter.After(now.Add(maxNotAfter)) {
		return messages.Intent{}, nil, messages.FieldErrorf(messages.CodeInvalid, "not_after", "is %s; give a time within the next %s", req.NotAfter.Format(time.RFC3339), maxNotAfter)
	}
	program, err := a.flowNamed(ctx, req.Flow)
	if err != nil {
		return messages.Intent{}, nil, err
	}
	if program.Start.Answered == "" {
		return messages.Intent{}, nil, messages.FieldErrorf(messages.CodeInvalid, "flow", "flow %q has no start for answered calls", req.Flow)
	}
	if err := program.CheckContact(req.Contact); err != nil {
		return messages.Intent{}, nil, err
	}
	key := req.Key
	if key == "" {
		key = messages.NewEventID()
	}
	return messages.Intent{
		Schema: messages.IntentSchema, ID: messages.IntentID(key), To: req.To, CallerID: req.CallerID,
		Flow: program.Name, FlowHash: program.Hash, Contact: req.Contact, Attempt: 1,
		CreatedAt: now, NotAfter: req.NotAfter.UTC(), Status: messages.CallQueued,
	}, warnings, nil
}

// flowNamed is the current version of a flow.
func (a *API) flowNamed(ctx context.Context, name string) (*flow.Program, error) {
	flows, err := a.store.Flows(ctx)
	if err != nil {
		return nil, fmt.Errorf("list flows: %w", err)
	}
	hash, ok := flows[name]
	if !ok {
		known := strings.Join(slices.Sorted(maps.Keys(flows)), ", ")
		if known == "" {
			return nil, messages.FieldErrorf(messages.CodeInvalid, "flow", "no worker has loaded any flow yet; start one with --flow FILE")
		}
		return nil, messages.FieldErrorf(messages.CodeInvalid, "flow", "no flow named %q; there is %s", name, known)
	}
	return a.program(ctx, hash)
}

func (a *API) program(ctx context.Context, hash string) (*flow.Program, error) {
	source, err := a.store.Flow(ctx, hash)
	if err != nil {
		return nil, fmt.Errorf("load flow version %s: %w", hash, err)
	}
	program, err := flow.Compile("flow "+hash, source)
	if err != nil {
		return nil, fmt.Errorf("flow version %s: %w", hash, err)
	}
	return program, nil
}

// sameCall reports whether two intents ask for the same call. The flow counts by
// name: a request repeated after the flow was edited is still a repetition.
func sameCall(a, b messages.Intent) bool {
	return a.To == b.To && a.CallerID == b.CallerID && a.Flow == b.Flow && maps.Equal(a.Contact, b.Contact)
}
