package worker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
)

// maxRaces is how often a commit may be lost to another worker before the event is
// left to a redelivery. Each loss means that another event of the same call was
// stepped, so it takes a hundred copies at once to come near it; then whoever needs
// the log, and is slower for it, loses to all that do not.
const maxRaces = 200

// stepped is what a committed step asks for.
type stepped struct {
	decision call.DecisionKind
	reply    messages.Reply
	record   *messages.Record // to be published; nil when there is none
}

// step applies an arrival to its call, again for each race that it loses.
func (h *Events) step(ctx context.Context, d bus.Delivery, a arrival) (stepped, error) {
	for range maxRaces {
		got, err := h.tryStep(ctx, d, a)
		if !errors.Is(err, store.ErrConflict) {
			return got, err
		}
		h.metrics.raced()
	}
	return stepped{}, fmt.Errorf("lost %d races for call %s: %w", maxRaces, d.CallID, store.ErrConflict)
}

// tryStep loads, steps and commits once. The commit comes last, so that a panic,
// which comes back as a panicError, has changed nothing.
func (h *Events) tryStep(ctx context.Context, d bus.Delivery, a arrival) (got stepped, err error) {
	defer contain(&err)
	c, err := h.load(ctx, d, a)
	if err != nil {
		return stepped{}, err
	}
	entry := a.entry(d, c.state.Facts)
	if c.log == nil && c.state.NeedsLog(entry) {
		if c.log, err = h.loadLog(ctx, d.CallID); err != nil {
			return stepped{}, err
		}
	}
	out := c.machine.Step(c.state, c.log, entry, time.Now())
	box, err := boxOf(c.outbox, out, entry)
	if err != nil {
		return stepped{}, err
	}
	got = stepped{decision: out.Decision.Kind, reply: box.reply()}
	if c.state.Facts != nil {
		got.reply.Flow = c.state.Facts.Flow
	}
	// A redelivery publishes the record again, whoever failed to: it is idempotent
	// by call and revision.
	if out.Publish || (out.Known && out.State.Ended()) {
		if got.record, err = h.record(ctx, d.CallID, c, out); err != nil {
			return stepped{}, err
		}
	}
	if out.Known {
		return got, h.unchanged(ctx, d.CallID, c.revision)
	}
	return got, h.commit(ctx, d.CallID, c.revision, out, box)
}

// loaded is a call as it is stored, and what steps it.
type loaded struct {
	revision uint64
	outbox   []byte
	state    call.State
	machine  call.Machine
	log      []call.Entry // nil when the step did not need it
}

func (h *Events) load(ctx context.Context, d bus.Delivery, a arrival) (loaded, error) {
	callID := d.CallID
	var stored store.Call
	var log [][]byte
	var err error
	// The record at the end is made from the log, and only the log knows whether a
	// delivery that is not the first was stepped long ago.
	whole := a.event.Name == telesign.CallCompleted || d.Attempt > 1 || d.Late || d.Deferred
	if whole {
		stored, log, err = h.store.LoadCallAndLog(ctx, callID)
	} else {
		stored, err = h.store.LoadCall(ctx, callID)
	}
	if err != nil {
		return loaded{}, fmt.Errorf("load call: %w", err)
	}
	c := loaded{revision: stored.Revision, outbox: stored.Outbox, machine: call.Machine{Limits: h.limits}}
	if c.state, err = call.ParseState(callID, stored.State); err != nil {
		return loaded{}, err
	}
	if whole {
		if c.log, err = call.ParseLog(log); err != nil {
			return loaded{}, err
		}
	}
	if c.state.Facts == nil && tells(a.event) {
		if c.state.Facts, err = h.resolve(ctx, callID, a.event); err != nil {
			return loaded{}, fmt.Errorf("find out what call this is: %w", err)
		}
	}
	if facts := c.state.Facts; facts != nil && facts.FlowHash != "" {
		c.machine.Program, err = h.catalog.Program(ctx, facts.FlowHash)
		if err != nil && messages.CodeOf(err) != messages.CodeNotFound {
			return loaded{}, err
		}
		if err != nil { // holding would not bring it back
			h.log.ErrorContext(ctx, "the call's flow version is nowhere to be had; the caller hears the apology", "call_id", callID, "flow", facts.Flow, "hash", facts.FlowHash)
		}
	}
	return c, nil
}

func (h *Events) loadLog(ctx context.Context, callID string) ([]call.Entry, error) {
	raw, err := h.store.LoadLog(ctx, callID)
	if err != nil {
		return nil, fmt.Errorf("load the call's log: %w", err)
	}
	return call.ParseLog(raw)
}

// record is the call's record as it will be once out is committed. It is made
// before the commit, so that the commit proves that the log it was made from is
// the log of that revision.
func (h *Events) record(ctx context.Context, callID string, c loaded, out call.Outcome) (*messages.Record, error) {
	revision, log := c.revision+1, c.log
	if out.Known {
		revision = c.revision
	}
	if out.Rewrite {
		log = nil
	} else if log == nil {
		var err error
		if log, err = h.loadLog(ctx, callID); err != nil {
			return nil, err
		}
	}
	record, err := c.machine.Record(out.State, slices.Concat(log, out.Entries), revision)
	if err != nil {
		return nil, fmt.Errorf("make the call's record: %w", err)
	}
	return &record, nil
}

// unchanged does for a step with nothing to commit what the commit does for
// others: it proves that state and log, read one after the other, are of one
// revision. ErrConflict when they may not be.
func (h *Events) unchanged(ctx context.Context, callID string, revision uint64) error {
	stored, err := h.store.LoadCall(ctx, callID)
	if err != nil {
		return fmt.Errorf("load call again: %w", err)
	}
	if stored.Revision != revision {
		return fmt.Errorf("call %s went from revision %d to %d: %w", callID, revision, stored.Revision, store.ErrConflict)
	}
	return nil
}

func (h *Events) commit(ctx context.Context, callID string, expect uint64, out call.Outcome, box outbox) error {
	state, err := out.State.Encode()
	if err != nil {
		return fmt.Errorf("encode the call's state: %w", err)
	}
	boxed, err := box.encode()
	if err != nil {
		return fmt.Errorf("encode the call's outbox: %w", err)
	}
	entries, err := call.EncodeLog(out.Entries)
	if err != nil {
		return err
	}
	if err := h.store.CommitCall(ctx, callID, store.Commit{Expect: expect, State: state, Outbox: boxed, Log: entries, RewriteLog: out.Rewrite}); err != nil {
		return fmt.Errorf("commit call: %w", err)
	}
	return nil
}

// outbox is the part of a step that leaves the state, kept beside it until the
// call's next commit: a redelivery answers with it, byte for byte.
type outbox struct {
	EventID string          `json:"i"`
	Hold    bool            `json:"h,omitempty"`
	Step    string          `json:"s,omitempty"`
	Reason  string          `json:"r,omitempty"`
	Action  json.RawMessage `json:"a,omitempty"`
}

// boxOf is what to reply: the stored outbox for a redelivery of the newest event,
// the decision otherwise.
func boxOf(stored []byte, out call.Outcome, entry call.Entry) (outbox, error) {
	if out.Known && len(stored) > 0 {
		var box outbox
		if err := json.Unmarshal(stored, &box); err != nil {
			return box, fmt.Errorf("the call's outbox: %w", err)
		}
		if box.EventID == entry.ID {
			return box, nil
		}
	}
	box := outbox{EventID: entry.ID, Hold: out.Decision.Hold, Step: out.Decision.Step}
	if box.Hold {
		box.Reason = out.Decision.Reason
		return box, nil
	}
	var err error
	if box.Action, err = out.Decision.Body(); err != nil {
		return box, fmt.Errorf("encode the answer of step %q: %w", out.Decision.Step, err)
	}
	return box, nil
}

// encode keeps Action as it is: json.Marshal would write the < of SSML and the & of
// a URL in another way.
func (o outbox) encode() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(o); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), nil
}

func (o outbox) reply() messages.Reply {
	if o.Hold {
		return messages.Reply{Verdict: messages.VerdictHold, Step: o.Step, Reason: o.Reason}
	}
	return messages.Reply{Verdict: messages.VerdictDecided, Step: o.Step, Action: o.Action}
}

// panicError is a panic, contained.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

// contain is to be deferred: it turns a panic into a panicError.
func contain(err *error) {
	if v := recover(); v != nil {
		*err = &panicError{value: v, stack: debug.Stack()}
	}
}
