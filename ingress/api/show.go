package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

// showCall answers with one call, found by TeleSign's reference_id or by the id
// that placing it returned.
func (a *API) showCall(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	ctx, id := r.Context(), r.PathValue("id")
	found, err := a.callByReference(ctx, id)
	if err == nil && found == nil {
		found, err = a.callByIntent(ctx, id)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, found, nil
}

// callByReference is the call that events have been seen of, with the intent that
// it was placed by, if that was ours; nil when there is no such call.
func (a *API) callByReference(ctx context.Context, id string) (*messages.Call, error) {
	found, err := a.stepped(ctx, id)
	if err != nil || found == nil || found.Record.ExternalID == "" {
		return found, err
	}
	intent, err := a.store.Intent(ctx, found.Record.ExternalID)
	switch {
	case messages.CodeOf(err) == messages.CodeNotFound: // not ours, or expired before its call
	case err != nil:
		return nil, fmt.Errorf("load intent: %w", err)
	case intent.CallID == id: // else another call carried the same external_id first
		found.Intent = &intent
	}
	return found, nil
}

// callByIntent is the call that was placed under id, as far as it has come.
func (a *API) callByIntent(ctx context.Context, id string) (*messages.Call, error) {
	intent, err := a.store.Intent(ctx, id)
	if err != nil {
		if messages.CodeOf(err) == messages.CodeNotFound {
			return nil, messages.Errorf(messages.CodeNotFound, "no call %q: no event has come with this reference_id and no call was placed under this id, or its retention has ended", clip(id))
		}
		return nil, fmt.Errorf("load intent: %w", err)
	}
	var found *messages.Call
	if intent.CallID != "" {
		if found, err = a.stepped(ctx, intent.CallID); err != nil {
			return nil, err
		}
	}
	if found == nil {
		found = &messages.Call{Status: intent.Status, Record: messages.Record{
			Disposition: neverCalled(intent),
			Schema:      messages.RecordSchema, CallID: intent.CallID, ExternalID: intent.ID, Flow: intent.Flow, FlowHash: intent.FlowHash,
			Direction: call.Outbound, To: intent.To, From: intent.CallerID, Contact: intent.Contact, Status: intent.Outcome,
		}}
	}
	found.Intent = &intent
	return found, nil
}

// neverCalled is what a dial that never became a call ended in, as its record says;
// empty while it may become one.
func neverCalled(intent messages.Intent) messages.Disposition {
	switch {
	case intent.Status == messages.CallUnknown:
		return messages.DispositionUnknown
	case intent.Status != messages.CallRefused:
		return ""
	case intent.Outcome == string(messages.DispositionExpired):
		return messages.DispositionExpired
	}
	return telesign.DialStatus(intent.Outcome).Disposition()
}

// stepped is the call that workers have stepped, without its intent; nil when there
// is none.
func (a *API) stepped(ctx context.Context, id string) (*messages.Call, error) {
	stored, err := a.store.LoadCall(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load call: %w", err)
	}
	if stored.Revision == 0 {
		return nil, nil
	}
	state, err := call.ParseState(id, stored.State)
	switch {
	case errors.Is(err, call.ErrNewerSchema):
		return nil, messages.Errorf(messages.CodeConflict, "call %q is kept by a newer version of offhook than this API; upgrade the API to see it", clip(id))
	case err != nil:
		return nil, err
	}
	raw, err := a.store.LoadLog(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load the call's log: %w", err)
	}
	log, err := call.ParseLog(raw)
	if err != nil {
		return nil, err
	}
	machine := call.Machine{Limits: a.cfg.Limits}
	if state.Facts != nil && state.Facts.FlowHash != "" {
		machine.Program, err = a.program(ctx, state.Facts.FlowHash)
		switch {
		case messages.CodeOf(err) == messages.CodeNotFound: // the call itself is there
			return nil, messages.Errorf(messages.CodeInternal, "call %q is there, but the flow version it ran, %s, has been lost", clip(id), state.Facts.FlowHash)
		case err != nil:
			return nil, err
		}
	}
	record, err := machine.Record(state, log, stored.Revision)
	if err != nil {
		return nil, fmt.Errorf("read the call: %w", err)
	}
	status := messages.CallLive
	if state.Ended() {
		status = messages.CallEnded
	}
	return &messages.Call{Status: status, Record: record}, nil
}
