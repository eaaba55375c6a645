package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/flow"
)

// maxRaces is how often a commit may be lost to another worker before the event is
// left to a redelivery. Each loss means that another event of the same call was
// stepped, so a handful is already unusual.
const maxRaces = 20

// Events steps the calls that webhook events belong to.
type Events struct {
	store   *store.Store
	bus     *bus.Bus
	catalog *Catalog
	limits  call.Limits
	metrics *Metrics
	log     *slog.Logger
}

// NewEvents makes the handler of the events stream.
func NewEvents(st *store.Store, b *bus.Bus, catalog *Catalog, limits call.Limits, metrics *Metrics, log *slog.Logger) *Events {
	return &Events{store: st, bus: b, catalog: catalog, limits: limits, metrics: metrics, log: log}
}

// Handle steps one delivery: load, step, commit, reply, publish; returning Done
// acknowledges it. When nothing can be decided now, the caller is put on hold at
// once and the delivery comes again. What can never be stepped is parked.
func (h *Events) Handle(ctx context.Context, d bus.Delivery) bus.Result {
	arrival, err := readArrival(d)
	if err != nil {
		h.hold(ctx, d, "unreadable")
		return bus.Park(messages.ReasonPoison, err)
	}
	stepped, err := h.step(ctx, d, arrival)
	var panicked *panicError
	switch {
	case err == nil:
	case errors.As(err, &panicked):
		// The call must be able to go on without this event.
		if err := h.markParked(ctx, d); err != nil {
			h.log.WarnContext(ctx, "call does not know that its event was parked", "event_id", d.EventID, "error", err)
		}
		h.hold(ctx, d, "failed")
		h.metrics.failed(messages.ReasonPanic)
		return bus.Park(messages.ReasonPanic, err)
	default:
		h.hold(ctx, d, "unavailable")
		h.metrics.retried()
		h.log.WarnContext(ctx, "event not stepped; it will come again", "event_id", d.EventID, "event", d.Event, "delivery", d.Attempt, "error", err)
		return bus.Retry(0, err)
	}
	h.metrics.decided(d.Event, stepped.decision)
	if err := h.reply(ctx, d, stepped.reply); err != nil {
		// Ingress will fall back and report it; the state is committed all the same.
		h.log.WarnContext(ctx, "reply not sent", "event_id", d.EventID, "error", err)
	}
	if stepped.record != nil {
		if err := h.bus.PublishRecord(ctx, *stepped.record); err != nil {
			return bus.Retry(0, fmt.Errorf("publish the call's record: %w", err))
		}
	}
	return bus.Done()
}

// arrival is a delivery, read.
type arrival struct {
	event telesign.Event // of KindEvent
	told  messages.Told  // of KindTold
}

func readArrival(d bus.Delivery) (arrival, error) {
	var a arrival
	var err error
	if d.Kind == messages.KindTold {
		a.told, err = messages.ParseTold(d.Body)
		return a, err
	}
	if a.event, err = telesign.ParseEvent(d.Body); err != nil {
		return a, err
	}
	if a.event.ReferenceID != d.CallID {
		return a, fmt.Errorf("the body is about call %q, the envelope about %q", a.event.ReferenceID, d.CallID)
	}
	return a, nil
}

func (a arrival) entry(d bus.Delivery, facts *call.Facts) call.Entry {
	if d.Kind == messages.KindTold {
		return call.ToldEntry(d.EventID, d.Arrived, d.Sequence, d.Late, a.told)
	}
	return call.EventEntry(d.EventID, d.Arrived, d.Sequence, d.Late, a.event, facts)
}

// stepped is what a committed step asks for.
type stepped struct {
	decision call.DecisionKind
	reply    messages.Reply
	record   *messages.Record
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

func (o outbox) reply() messages.Reply {
	if o.Hold {
		return messages.Reply{Verdict: messages.VerdictHold, Step: o.Step, Reason: o.Reason}
	}
	return messages.Reply{Verdict: messages.VerdictDecided, Step: o.Step, Action: o.Action}
}

func (h *Events) step(ctx context.Context, d bus.Delivery, a arrival) (stepped, error) {
	for range maxRaces {
		got, err := h.tryStep(ctx, d, a.entry, a.event)
		if !errors.Is(err, store.ErrConflict) {
			return got, err
		}
		h.metrics.raced()
	}
	return stepped{}, fmt.Errorf("lost %d races for call %s", maxRaces, d.CallID)
}

// markParked tells the call that an event of its will not be stepped.
func (h *Events) markParked(ctx context.Context, d bus.Delivery) error {
	entry := func(bus.Delivery, *call.Facts) call.Entry {
		return call.ParkedEntry(d.EventID, d.Arrived, d.Sequence, d.Late, d.Event)
	}
	for range maxRaces {
		_, err := h.tryStep(ctx, d, entry, telesign.Event{})
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
	return store.ErrConflict
}

// tryStep loads, steps and commits once. A panic of the pure code comes back as a
// panicError: the state was not touched.
func (h *Events) tryStep(ctx context.Context, d bus.Delivery, entryOf func(bus.Delivery, *call.Facts) call.Entry, event telesign.Event) (stepped, error) {
	stored, err := h.store.LoadCall(ctx, d.CallID)
	if err != nil {
		return stepped{}, fmt.Errorf("load call: %w", err)
	}
	state, err := call.ParseState(d.CallID, stored.State)
	if err != nil {
		return stepped{}, err
	}
	if state.Facts == nil && event.Name != "" {
		if state.Facts, err = h.resolve(ctx, d.CallID, event); err != nil {
			return stepped{}, fmt.Errorf("find out what call this is: %w", err)
		}
	}
	machine, err := h.machine(ctx, state.Facts)
	if err != nil {
		return stepped{}, err
	}
	entry := entryOf(d, state.Facts)
	log, err := h.loadLog(ctx, d.CallID, state.NeedsLog(entry))
	if err != nil {
		return stepped{}, err
	}
	out, err := stepSafely(machine, state, log, entry)
	if err != nil {
		return stepped{}, err
	}
	box, err := boxOf(stored, out, entry)
	if err != nil {
		return stepped{}, err
	}
	got := stepped{decision: out.Decision.Kind, reply: box.reply()}
	// A redelivery publishes the record again, whoever failed to: it is idempotent
	// by call and revision.
	if out.Publish || (out.Known && out.State.Ended()) {
		if got.record, err = h.record(ctx, machine, stored, out, log); err != nil {
			return stepped{}, err
		}
	}
	if out.Known {
		return got, nil
	}
	return got, h.commit(ctx, d.CallID, stored.Revision, out, box)
}

// record is the call's record as it will be once out is committed. It is made
// before the commit, so that the commit proves that the log it was made from is
// the log of that revision.
func (h *Events) record(ctx context.Context, m call.Machine, stored store.Call, out call.Outcome, log []call.Entry) (*messages.Record, error) {
	whole, revision := out.Entries, stored.Revision+1
	if out.Known {
		revision = stored.Revision
	}
	if !out.Rewrite {
		if log == nil {
			var err error
			if log, err = h.loadLog(ctx, out.State.Facts.CallID, true); err != nil {
				return nil, err
			}
		}
		whole = append(log, out.Entries...)
	}
	record, err := m.Record(out.State, whole, revision)
	if err != nil {
		return nil, fmt.Errorf("make the call's record: %w", err)
	}
	return &record, nil
}

func (h *Events) loadLog(ctx context.Context, callID string, needed bool) ([]call.Entry, error) {
	if !needed {
		return nil, nil
	}
	raw, err := h.store.LoadLog(ctx, callID)
	if err != nil {
		return nil, fmt.Errorf("load the call's log: %w", err)
	}
	return call.ParseLog(raw)
}

// boxOf is what to reply: the stored outbox for a redelivery of the newest event,
// the decision otherwise.
func boxOf(stored store.Call, out call.Outcome, entry call.Entry) (outbox, error) {
	if out.Known && len(stored.Outbox) > 0 {
		var box outbox
		if err := json.Unmarshal(stored.Outbox, &box); err != nil {
			return box, fmt.Errorf("the call's outbox: %w", err)
		}
		if box.EventID == entry.ID {
			return box, nil
		}
	}
	box := outbox{EventID: entry.ID, Hold: out.Decision.Hold, Step: out.Decision.Step, Reason: out.Decision.Reason}
	if box.Hold {
		return box, nil
	}
	body, err := out.Decision.Body()
	if err != nil {
		return box, fmt.Errorf("encode the answer of step %q: %w", out.Decision.Step, err)
	}
	box.Reason, box.Action = "", body
	return box, nil
}

func (h *Events) commit(ctx context.Context, callID string, expect uint64, out call.Outcome, box outbox) error {
	state, err := out.State.Encode()
	if err != nil {
		return fmt.Errorf("encode the call's state: %w", err)
	}
	boxed, err := json.Marshal(box)
	if err != nil {
		return fmt.Errorf("encode the call's outbox: %w", err)
	}
	entries, err := call.EncodeLog(out.Entries)
	if err != nil {
		return err
	}
	return h.store.CommitCall(ctx, callID, store.Commit{Expect: expect, State: state, Outbox: boxed, Log: entries, RewriteLog: out.Rewrite})
}

// machine is the state machine of the call's own flow version.
func (h *Events) machine(ctx context.Context, facts *call.Facts) (call.Machine, error) {
	m := call.Machine{Limits: h.limits}
	if facts == nil || facts.FlowHash == "" {
		return m, nil
	}
	var err error
	m.Program, err = h.catalog.Program(ctx, facts.FlowHash)
	return m, err
}

// resolve finds out what a call is, on its first event: one that we placed, or one
// for the flow of incoming calls.
func (h *Events) resolve(ctx context.Context, callID string, e telesign.Event) (*call.Facts, error) {
	facts := &call.Facts{CallID: callID, ExternalID: e.ExternalID, To: e.To, From: e.From, Direction: e.Direction}
	if e.ExternalID != "" {
		intent, found, err := h.store.ClaimIntent(ctx, e.ExternalID, callID)
		switch {
		case errors.Is(err, store.ErrConflict):
			h.log.WarnContext(ctx, "two calls carry the same external_id; the second runs as one that we did not place", "external_id", e.ExternalID, "call_id", callID)
		case err != nil:
			return nil, err
		case found:
			facts.Direction, facts.To, facts.From = call.Outbound, intent.To, intent.CallerID
			facts.Flow, facts.FlowHash, facts.Contact, facts.Attempt = intent.Flow, intent.FlowHash, intent.Contact, intent.Attempt
			return facts, nil
		}
	}
	if facts.Direction == "" {
		facts.Direction = call.Outbound
		if e.Name == telesign.IncomingCall {
			facts.Direction = call.Inbound
		}
	}
	if p := h.catalog.Incoming(); p != nil {
		facts.Flow, facts.FlowHash = p.Name, p.Hash
		facts.Contact = defaults(p)
	}
	return facts, nil
}

// defaults is what a flow says of a contact it knows nothing about.
func defaults(p *flow.Program) map[string]string {
	contact := map[string]string{}
	for _, c := range p.Contact {
		if c.Default != "" {
			contact[c.Name] = c.Default
		}
	}
	return contact
}

// hold asks ingress to fall back at once. It is best effort: without it, ingress
// falls back at the end of the window.
func (h *Events) hold(ctx context.Context, d bus.Delivery, reason string) {
	if err := h.reply(ctx, d, messages.Reply{Verdict: messages.VerdictHold, Reason: reason}); err != nil {
		h.log.WarnContext(ctx, "hold not sent", "event_id", d.EventID, "error", err)
	}
}

// reply answers whoever waits; past the deadline nobody does.
func (h *Events) reply(ctx context.Context, d bus.Delivery, r messages.Reply) error {
	if d.ReplyTo == "" || d.Late {
		return nil
	}
	if !d.Deadline.IsZero() && time.Now().After(d.Deadline) {
		h.metrics.late()
		return nil
	}
	return h.bus.Reply(ctx, d.ReplyTo, r)
}

// panicError is a panic of the pure code, contained.
type panicError struct {
	value any
	stack []byte
}

func (e *panicError) Error() string { return fmt.Sprintf("panic: %v\n%s", e.value, e.stack) }

func stepSafely(m call.Machine, s call.State, log []call.Entry, e call.Entry) (out call.Outcome, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &panicError{value: v, stack: debug.Stack()}
		}
	}()
	return m.Step(s, log, e, time.Now()), nil
}
