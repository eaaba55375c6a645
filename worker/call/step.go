package call

import (
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

// Limits bound what one call may hear.
type Limits struct {
	MaxPrompts      int           // prompts a call hears before it ends with failed, too_long
	HoldFor         time.Duration // how long holds may follow each other before apology and hangup
	Apology         string        // said when there is no flow to run or a call cannot go on
	ApologyLanguage string
}

// Machine steps the calls of one flow version.
type Machine struct {
	Program *flow.Program // nil: there is no flow, callers hear the apology
	Limits  Limits
}

// DecisionKind says what the state machine made of an arrival. It is shown in
// timelines and counted in metrics.
type DecisionKind string

// The kinds of decision.
const (
	Begun      DecisionKind = "begun"       // the conversation began
	NotReached DecisionKind = "not_reached" // the dial was not answered
	Accepted   DecisionKind = "accepted"    // an answer was taken
	Routed     DecisionKind = "routed"      // a key led to a step
	NoInput    DecisionKind = "no_input"    // nothing was pressed
	Invalid    DecisionKind = "invalid"     // a key that is not one of the choices
	Repeated   DecisionKind = "repeated"    // the prompt is said again on request
	Said       DecisionKind = "said"        // a prompt without a question was heard
	PromptFail DecisionKind = "prompt_failed"
	HoldEnded  DecisionKind = "hold_ended" // the decision that was due is delivered
	Copy       DecisionKind = "copy"       // the same event again: the same action again
	Over       DecisionKind = "over"       // the call is being ended
	Ended      DecisionKind = "ended"      // call_completed
	Late       DecisionKind = "late"       // after the end: recorded, nobody hears the action
	Held       DecisionKind = "held"       // cannot be decided: a hold
	Reported   DecisionKind = "reported"   // a told report was applied
	ParkedKind DecisionKind = "parked"     // the event is in the failed set
)

// Decision is what to answer to one event.
type Decision struct {
	Kind   DecisionKind
	Step   string          // where the call stands afterwards
	Action telesign.Action // nil answers {}
	Hold   bool            // answer with a hold instead
	Reason string          // why, for holds and failures
}

// Body is the answer as TeleSign wants it; {} when there is nothing to do.
func (d Decision) Body() ([]byte, error) {
	if d.Action == nil {
		return []byte("{}"), nil
	}
	return telesign.Encode(d.Action)
}

// Outcome is the result of a step.
type Outcome struct {
	State    State
	Decision Decision
	Known    bool    // the entry had been applied before: nothing to commit
	Entries  []Entry // to append to the log, or, with Rewrite, the whole log
	Rewrite  bool
	Publish  bool // the record is to be published
}

// NeedsLog reports whether stepping e needs the call's whole log: it is older than
// what has been applied, or may be in it already.
func (s State) NeedsLog(e Entry) bool {
	return s.LastAt != 0 && e.ID != s.LastID && s.place(e) <= s.LastAt
}

// place is e's key, moved behind the last applied entry when the stream proves
// that it came later: the clocks of two ingresses differ by milliseconds, and the
// stream's order respects cause and effect. A spooled event has no such proof.
func (s State) place(e Entry) int64 {
	if e.Key <= s.LastAt && !e.Late && e.Seq > s.LastSeq && s.LastSeq != 0 {
		return s.LastAt + 1
	}
	return e.Key
}

// Step applies one arrival. log is needed only when NeedsLog says so, and is not
// changed. s.Facts must be set before the first event is stepped. now is when the
// step is taken, for the timeline only.
func (m Machine) Step(s State, log []Entry, e Entry, now time.Time) Outcome {
	e.Decided = now.UnixMicro()
	if s.LastAt != 0 && e.ID == s.LastID {
		return Outcome{State: s, Known: true, Decision: m.again(s)}
	}
	if !s.NeedsLog(e) {
		e.Key = s.place(e)
		d := m.apply(&s, e)
		return Outcome{State: s, Decision: d, Entries: []Entry{e}, Publish: s.Ended() && d.Kind != Copy}
	}
	if i := slices.IndexFunc(log, func(l Entry) bool { return l.ID == e.ID }); i >= 0 {
		past := s.restart()
		var d Decision
		for _, l := range log[:i+1] {
			d = m.apply(&past, l)
		}
		return Outcome{State: s, Decision: d, Known: true}
	}
	whole := append(slices.Clone(log), e)
	slices.SortStableFunc(whole, compare)
	folded := s.restart()
	var d Decision
	for _, l := range whole {
		if got := m.apply(&folded, l); l.ID == e.ID {
			d = got
		}
	}
	return Outcome{State: folded, Decision: d, Entries: whole, Rewrite: true, Publish: folded.Ended()}
}

// Fold is the state after a whole log.
func (m Machine) Fold(facts *Facts, log []Entry) State {
	s := State{Schema: Schema, Facts: facts}
	for _, e := range log {
		m.apply(&s, e)
	}
	return s
}

func (s State) restart() State { return State{Schema: Schema, Facts: s.Facts} }

// compare orders entries by key; the event id settles ties, so that every worker
// settles them alike.
func compare(a, b Entry) int {
	if a.Key != b.Key {
		if a.Key < b.Key {
			return -1
		}
		return 1
	}
	return strings.Compare(a.ID, b.ID)
}

// again is the decision the caller was last given, for a redelivery of the newest
// arrival. The state is not changed.
func (m Machine) again(s State) Decision {
	switch {
	case s.Ended():
		return Decision{Kind: Copy, Step: s.Step}
	case s.Held || s.Asked == askedNothing:
		return Decision{Kind: Copy, Step: s.Step, Hold: true, Reason: "held before"}
	}
	return Decision{Kind: Copy, Step: s.Step, Action: m.outstanding(&s)}
}

// apply is the fold's one step: it moves s past e and says what to answer.
func (m Machine) apply(s *State, e Entry) Decision {
	s.LastAt, s.LastID, s.LastSeq = e.Key, e.ID, max(e.Seq, s.LastSeq)
	if e.Told != nil {
		return m.applyTold(s, e)
	}
	s.EventID = e.ID
	if s.Missing == e.ID {
		s.Missing = ""
	}
	if e.Parked {
		return Decision{Kind: ParkedKind, Step: s.Step, Hold: true, Reason: "the event is in the failed set"}
	}
	d := m.applyEvent(s, e)
	d.Step = s.Step
	if s.Ended() && d.Kind != Ended && d.Kind != Copy {
		d.Kind, d.Action, d.Hold = Late, nil, false
	}
	return d
}

func (m Machine) applyEvent(s *State, e Entry) Decision {
	if e.Name == telesign.CallCompleted {
		return applyEnd(s, e)
	}
	if s.Held {
		return m.applyHeld(s, e)
	}
	switch {
	case e.Name == telesign.IncomingCall, e.Name == telesign.DialCompleted:
		return m.applyStart(s, e)
	case s.Asked == askedNothing:
		return Decision{Kind: Held, Hold: true, Reason: "the call has not begun"}
	case s.Asked == askedOver:
		return Decision{Kind: Over, Action: telesign.Hangup{}}
	case telesign.Completes(e.Name, m.outstanding(s).Method()):
		return m.complete(s, e)
	case endsPrompt(e.Name):
		// The end of a prompt that this state did not send: of a hold whose report
		// never came.
		return m.deliver(s, HoldEnded, "the end of a prompt that was not sent")
	}
	return Decision{Kind: Held, Hold: true, Reason: "does not fit what the caller was told"}
}

// applyStart begins the conversation, once. Both events happen once per call, so
// another one is a copy while its answer stands, and unexpected afterwards.
func (m Machine) applyStart(s *State, e Entry) Decision {
	if s.Asked != askedNothing {
		if s.startedBy(e) {
			return Decision{Kind: Copy, Action: m.outstanding(s)}
		}
		return Decision{Kind: Held, Hold: true, Reason: "the call has begun already"}
	}
	if e.Name == telesign.DialCompleted {
		s.DialStatus = e.Status
		if e.Status != telesign.StatusAnswered {
			s.Asked = askedOver
			return Decision{Kind: NotReached, Action: telesign.Hangup{}, Reason: e.Status}
		}
	}
	s.Begun = e.Key
	if m.Program == nil {
		return m.apologize(s, Begun, string(messages.DispositionNoFlow))
	}
	first := m.Program.Start.Answered
	if e.Name == telesign.IncomingCall {
		first = m.Program.Start.Incoming
	}
	if first == "" {
		return m.apologize(s, Begun, string(messages.DispositionNoFlow))
	}
	return m.goTo(s, Begun, first)
}

// startedBy reports whether the prompt that stands was the answer to an event like
// e: nothing but the start has been stepped.
func (s *State) startedBy(e Entry) bool {
	outbound := s.DialStatus != ""
	return s.Prompts <= 1 && s.Tries <= 1 && !s.Instead && (e.Name == telesign.DialCompleted) == outbound &&
		(!outbound || e.Status == s.DialStatus)
}

// applyEnd records the end. TeleSign ignores the answer.
func applyEnd(s *State, e Entry) Decision {
	if s.Ended() {
		return Decision{Kind: Copy}
	}
	if e.End == nil {
		e.End = &end{}
	}
	over := *e.End
	over.At = e.Key
	over.ByFlow = s.Asked == askedOver && !s.Held
	s.End = &over
	return Decision{Kind: Ended}
}

// applyTold brings the state in line with what ingress answered by itself.
func (m Machine) applyTold(s *State, e Entry) Decision {
	d := Decision{Kind: Reported, Step: s.Step, Reason: string(e.Told.Answer)}
	switch e.Told.Answer {
	case messages.ToldNothing:
		return d
	case messages.ToldHangup:
		s.Asked, s.Held = askedOver, false
		return d
	case messages.ToldHold:
	}
	s.Holds++
	if !s.Held && s.HeldAt == 0 {
		s.HeldAt = e.Key
	}
	s.Held = true
	if e.Told.EventID != s.EventID {
		s.Missing = e.Told.EventID
	}
	return d
}

// applyHeld handles an event while the caller is on hold: its completion delivers
// what is due. Keys pressed during a hold are no answer, since nothing was asked.
func (m Machine) applyHeld(s *State, e Entry) Decision {
	switch {
	case !endsPrompt(e.Name) && s.Asked != askedNothing:
		return Decision{Kind: Held, Hold: true, Reason: "on hold"}
	case m.Limits.HoldFor > 0 && s.HeldAt != 0 && e.Key-s.HeldAt >= m.Limits.HoldFor.Microseconds():
		s.Held, s.Missing, s.HeldAt = false, "", 0
		s.Fail = "held_too_long"
		return m.apologize(s, Held, "")
	case s.Missing != "":
		return Decision{Kind: Held, Hold: true, Reason: "an earlier event is still being processed"}
	case s.Asked == askedNothing:
		s.Held = false
		if e.Name == telesign.IncomingCall || e.Name == telesign.DialCompleted {
			s.HeldAt = 0
			return m.applyStart(s, e)
		}
		return Decision{Kind: Held, Hold: true, Reason: "the call has not begun"}
	}
	s.Held, s.HeldAt = false, 0
	return m.deliver(s, HoldEnded, "")
}

// deliver gives the outstanding prompt once more. Each time counts as a prompt, so
// that a call in which nothing ever fits still ends.
func (m Machine) deliver(s *State, kind DecisionKind, reason string) Decision {
	if s.Asked == askedOver {
		return Decision{Kind: kind, Action: telesign.Hangup{}, Reason: reason}
	}
	if m.tooLong(s) {
		return m.fail(s, kind, reasonTooLong)
	}
	s.Prompts++
	return Decision{Kind: kind, Action: m.outstanding(s), Reason: reason}
}

// endsPrompt reports whether an event may be the end of a prompt: the documented
// completions and any word of that shape that TeleSign may add.
func endsPrompt(n telesign.EventName) bool {
	switch n {
	case telesign.IncomingCall, telesign.DialCompleted, telesign.CallCompleted, telesign.CallLegCompleted:
		return false
	case telesign.SpeakCompleted, telesign.PlayCompleted:
		return true
	}
	return strings.HasSuffix(string(n), "_completed")
}
