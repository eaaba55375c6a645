package worker

import (
	"context"
	"errors"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// tells reports whether an event says which call it belongs to. TeleSign promises
// our external_id only in some events; the others must not make a stranger of a
// call that we placed, whichever is stepped first.
func tells(e telesign.Event) bool {
	return e.ExternalID != "" || e.Name == telesign.IncomingCall || e.Name == telesign.DialCompleted
}

// resolve finds out what a call is, on the first event that tells: one that we
// placed, whose intent is claimed for it, or one for the flow of incoming calls.
// Without such a flow the facts name none. Until they are committed, the next event
// resolves again; claiming twice is claiming once.
func (h *Events) resolve(ctx context.Context, callID string, e telesign.Event) (*call.Facts, error) {
	facts := &call.Facts{ExternalID: e.ExternalID, To: e.To, From: e.From, Direction: directionOf(e)}
	if e.ExternalID != "" {
		intent, found, err := h.store.ClaimIntent(ctx, e.ExternalID, callID)
		switch {
		case errors.Is(err, store.ErrConflict):
			// The other call is the one that was placed. Under the same external id, this
			// one's record would be a second outcome of that dial.
			facts.ExternalID = ""
			h.log.WarnContext(ctx, "two calls carry the same external_id; the second runs as one that we did not place",
				"external_id", e.ExternalID, "call_id", callID, "first_call_id", intent.CallID)
		case err != nil:
			return nil, err
		case found:
			placed(facts, intent)
			return facts, nil
		}
	}
	if p := h.catalog.Incoming(); p != nil {
		facts.Flow, facts.FlowHash = p.Name, p.Hash
	}
	return facts, nil
}

// placed are the facts of a call that we placed: the intent knows better than the
// event.
func placed(facts *call.Facts, intent messages.Intent) {
	facts.Direction, facts.To, facts.From = call.Outbound, intent.To, intent.CallerID
	facts.Flow, facts.FlowHash, facts.Contact, facts.Attempt = intent.Flow, intent.FlowHash, intent.Contact, intent.Attempt
}

// directionOf is what the event says, or what its name implies.
func directionOf(e telesign.Event) string {
	switch {
	case e.Direction != "":
		return e.Direction
	case e.Name == telesign.IncomingCall:
		return call.Inbound
	}
	return call.Outbound
}
