package api

import (
	"context"
	"fmt"
	"net/http"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/call"
)

// showCall answers with one call, found by TeleSign's reference_id or by the id
// that placing it returned.
func (a *API) showCall(_ http.ResponseWriter, r *http.Request) (int, any, error) {
	id := r.PathValue("id")
	found, err := a.callByReference(r.Context(), id)
	if err != nil {
		return 0, nil, err
	}
	if found != nil {
		if found.Record.ExternalID != "" {
			intent, err := a.store.Intent(r.Context(), found.Record.ExternalID)
			switch {
			case err == nil:
				found.Intent = &intent
			case messages.CodeOf(err) != messages.CodeNotFound: // not ours, or expired before its call
				return 0, nil, fmt.Errorf("load intent: %w", err)
			}
		}
		return http.StatusOK, found, nil
	}
	intent, err := a.store.Intent(r.Context(), id)
	if messages.CodeOf(err) == messages.CodeNotFound {
		return 0, nil, messages.Errorf(messages.CodeNotFound, "no call %q: neither a reference_id nor the id of a placed call, or older than the retention of calls", id)
	}
	if err != nil {
		return 0, nil, fmt.Errorf("load intent: %w", err)
	}
	if intent.CallID != "" {
		if found, err = a.callByReference(r.Context(), intent.CallID); err != nil {
			return 0, nil, err
		}
	}
	if found == nil {
		found = &messages.Call{Status: intent.Status, Record: messages.Record{
			Schema: messages.RecordSchema, CallID: intent.CallID, ExternalID: intent.ID, Flow: intent.Flow, FlowHash: intent.FlowHash,
			Direction: call.Outbound, To: intent.To, From: intent.CallerID, Contact: intent.Contact, Status: intent.Outcome,
		}}
	}
	found.Intent = &intent
	return http.StatusOK, found, nil
}

// callByReference is the call that events have been seen of; nil when there is
// none.
func (a *API) callByReference(ctx context.Context, id string) (*messages.Call, error) {
	stored, err := a.store.LoadCall(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("load call: %w", err)
	}
	if stored.Revision == 0 {
		return nil, nil
	}
	state, err := call.ParseState(id, stored.State)
	if err != nil {
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
		if machine.Program, err = a.program(ctx, state.Facts.FlowHash); err != nil {
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
