package api

import (
	"context"
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
//
// A repetition is recognised before anything else is judged: it is one whether or
// not its not_after has passed since, or its flow has been edited or taken away.
func (a *API) placeCall(w http.ResponseWriter, r *http.Request) (int, any, error) {
	req, err := readPlaceCall(w, r)
	if err != nil {
		return 0, nil, err
	}
	if len(req.Key) > maxKey {
		return 0, nil, messages.FieldErrorf(messages.CodeInvalid, "idempotency_key", "is %d bytes; at most %d are possible", len(req.Key), maxKey)
	}
	intent, replayed, err := a.intentOf(r.Context(), &req)
	switch {
	case err != nil && messages.CodeOf(err) == messages.CodeUnavailable: // an intent without a job dials nobody
		return 0, nil, messages.Errorf(messages.CodeUnavailable, "the call was not placed; repeat the request: %w", err)
	case err != nil:
		return 0, nil, err
	}
	if replayed && !sameCall(intent, req) {
		return 0, nil, messages.FieldErrorf(messages.CodeConflict, "idempotency_key", "another call was placed with this key; use a new key for a new call")
	}
	if intent.Status == messages.CallQueued {
		// From here on the call is wanted, even if whoever asked no longer waits.
		job := messages.DialJob{Intent: intent}
		job.Trace, job.State = traceOf(r.Context(), r.Header)
		if err := a.jobs.PublishJob(context.WithoutCancel(r.Context()), job); err != nil {
			return 0, nil, messages.Errorf(messages.CodeUnavailable,
				"call %s is not known to be queued; repeat the request with the idempotency_key %q, which never dials twice: %w", intent.ID, req.Key, err)
		}
	}
	a.log.InfoContext(r.Context(), "call placed", "id", intent.ID, "to", messages.Number(intent.To), "flow", intent.Flow, "replayed", replayed)
	return http.StatusAccepted, messages.PlacedCall{ID: intent.ID, Replayed: replayed, Warnings: warnings(intent)}, nil
}

// intentOf is the intent that stands for a request: the one that is stored under
// its key already (replayed), or a new one, checked and stored. A request without
// a key is given one.
func (a *API) intentOf(ctx context.Context, req *messages.PlaceCall) (intent messages.Intent, replayed bool, err error) {
	if req.Key == "" {
		req.Key = messages.NewEventID()
	} else {
		intent, err = a.store.Intent(ctx, messages.IntentID(req.Key))
		if err == nil {
			return intent, true, nil
		}
		if messages.CodeOf(err) != messages.CodeNotFound {
			return intent, false, err
		}
	}
	fresh, err := a.newIntent(ctx, *req, time.Now().UTC())
	if err != nil {
		return intent, false, err
	}
	intent, created, err := a.store.CreateIntent(ctx, fresh)
	return intent, !created, err
}

// newIntent is the intent that a request asks for, checked.
func (a *API) newIntent(ctx context.Context, req messages.PlaceCall, now time.Time) (messages.Intent, error) {
	none := messages.Intent{}
	if req.CallerID == "" {
		req.CallerID = a.cfg.CallerID
	}
	for _, n := range []struct{ field, number string }{{"to", req.To}, {"caller_id_number", req.CallerID}} {
		if n.number == "" {
			return none, messages.FieldErrorf(messages.CodeInvalid, n.field, "is missing; give a complete number with country code, digits only")
		}
		if _, err := telesign.CheckNumber(n.number); err != nil {
			return none, messages.FieldErrorf(messages.CodeInvalid, n.field, "%w", err)
		}
	}
	if req.NotAfter.IsZero() {
		req.NotAfter = now.Add(defaultNotAfter)
	}
	if !req.NotAfter.After(now) || req.NotAfter.After(now.Add(maxNotAfter)) {
		return none, messages.FieldErrorf(messages.CodeInvalid, "not_after", "is %s; give a time within the next %s", req.NotAfter.Format(time.RFC3339), maxNotAfter)
	}
	program, err := a.flowNamed(ctx, req.Flow)
	if err != nil {
		return none, err
	}
	if program.Start.Answered == "" {
		return none, messages.FieldErrorf(messages.CodeInvalid, "flow", "flow %q has no start for answered calls", req.Flow)
	}
	if err := program.CheckContact(req.Contact); err != nil {
		return none, err
	}
	return messages.Intent{
		Schema: messages.IntentSchema, ID: messages.IntentID(req.Key), To: req.To, CallerID: req.CallerID,
		Flow: program.Name, FlowHash: program.Hash, Contact: req.Contact, Attempt: 1,
		CreatedAt: now, NotAfter: req.NotAfter.UTC(), Status: messages.CallQueued,
	}, nil
}

// flowNamed is the current version of a flow.
func (a *API) flowNamed(ctx context.Context, name string) (*flow.Program, error) {
	flows, err := a.store.Flows(ctx)
	if err != nil {
		return nil, err
	}
	hash, ok := flows[name]
	known := strings.Join(slices.Sorted(maps.Keys(flows)), ", ")
	switch {
	case known == "":
		return nil, messages.FieldErrorf(messages.CodeInvalid, "flow", "no worker has loaded any flow yet; start one with --flow FILE")
	case name == "":
		return nil, messages.FieldErrorf(messages.CodeInvalid, "flow", "is missing; there is %s", known)
	case !ok:
		return nil, messages.FieldErrorf(messages.CodeInvalid, "flow", "no flow named %q; there is %s", clip(name), known)
	}
	program, err := a.program(ctx, hash)
	if messages.CodeOf(err) == messages.CodeNotFound {
		return nil, messages.FieldErrorf(messages.CodeInvalid, "flow", "no worker has run flow %q for so long that it was forgotten; start one with its file", name)
	}
	return program, err
}

// sameCall reports whether a request asks for the call that an intent stands for.
//
// not_after is no part of that: it is usually counted from the moment of asking, so
// that a repetition carries another one, and the first stands. The flow counts by
// name, since its file may have been edited in between, and a caller id that the
// request leaves to the API is whatever the API took then.
func sameCall(in messages.Intent, req messages.PlaceCall) bool {
	return in.To == req.To && in.Flow == req.Flow && maps.Equal(in.Contact, req.Contact) &&
		(req.CallerID == "" || in.CallerID == req.CallerID)
}

// warnings are about the numbers of an intent.
func warnings(in messages.Intent) []string {
	var all []string
	for _, n := range []struct{ field, number string }{{"to", in.To}, {"caller_id_number", in.CallerID}} {
		if warning, err := telesign.CheckNumber(n.number); err == nil && warning != "" {
			all = append(all, n.field+": "+warning)
		}
	}
	return all
}
