package call

import (
	"slices"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

// Limits bound what one call may hear.
type Limits struct {
	MaxPrompts      int           // prompts a call hears before it ends with failed, too_long
	HoldFor         time.Duration // how long holds may follow each other before apology and hangup
	Guard           time.Duration // equal bytes within this of a decision are a copy; 0: there is no such time
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
// what has been applied, or may be in it already, or is about something that only
// the log knows.
func (s State) NeedsLog(e Entry) bool {
	switch {
	case s.LastID == "":
		return false
	case s.startsAgain(e):
		return true
	case e.ID == s.LastID:
		return false
	case e.Told != nil && e.Told.EventID != s.EventID:
		return true
	}
	return after(Entry{ID: s.LastID, Key: s.LastAt, Seq: s.LastSeq}, e)
}

// Step applies one arrival. log is needed when NeedsLog says so, and when the arrival
// may have been applied long ago: one that comes from a spool is known only by the
// log, since its place in the stream says nothing. It is not changed. s.Facts must be set before an event that starts a call is stepped. now
// is when the step is taken, for the timeline only.
func (m Machine) Step(s State, log []Entry, e Entry, now time.Time) Outcome {
	e.Took = now.UnixMicro() - e.Key
	needsLog := s.NeedsLog(e)
	if !needsLog && e.ID == s.LastID {
		return Outcome{State: s, Known: true, Decision: m.again(s)}
	}
	if i := slices.IndexFunc(log, func(l Entry) bool { return l.ID == e.ID }); i >= 0 {
		_, past := m.fold(s, log[:i+1])
		return Outcome{State: s, Decision: past[i], Known: true}
	}
	if !needsLog {
		d := m.apply(&s, e, e.Told == nil || e.Told.EventID == s.EventID)
		return Outcome{State: s, Decision: d, Entries: []Entry{e}, Publish: s.Ended() && d.Kind != Copy}
	}
	at := place(log, e)
	whole := slices.Insert(slices.Clone(log), at, e)
	folded, decisions := m.refold(s, log, whole, at)
	out := Outcome{State: folded, Decision: decisions[at], Entries: whole[at:], Publish: folded.Ended() && decisions[at].Kind != Copy}
	if at < len(log) { // even a copy may make a copy of what comes after it
		out.Entries, out.Rewrite, out.Publish = whole, true, folded.Ended()
	}
	return out
}

// starts reports whether an event is one that happens once, at the beginning.
func starts(n telesign.EventName) bool {
	return n == telesign.IncomingCall || n == telesign.DialCompleted
}

// startsAgain reports whether e would start a call that has begun: a copy of what
// began it, which gets the same action and changes nothing, or a stranger.
func (s State) startsAgain(e Entry) bool {
	return starts(e.Name) && !e.Parked && s.Asked != askedNothing
}

// sameStart reports whether b is a copy of a.
func (s State) sameStart(a, b Entry) bool {
	to := func(e Entry) string {
		if e.To == "" && s.Facts != nil {
			return s.Facts.To
		}
		return e.To
	}
	return a.Name == b.Name && a.Status == b.Status && to(a) == to(b)
}

// pass moves the state past an event that would start the call again. A copy of
// what began it leaves alone what copies of later events are known by.
func (s *State) pass(e Entry, same bool) Decision {
	s.mark(e)
	s.EventID = e.ID
	if same {
		return Decision{Kind: Copy, Step: s.Step}
	}
	s.Acted = false
	s.forget()
	return Decision{Kind: Held, Step: s.Step, Hold: !s.Ended(), Reason: "the call has begun already"}
}

// mark makes e the newest entry.
func (s *State) mark(e Entry) {
	s.LastAt, s.LastID, s.LastSeq = e.Key, e.ID, e.Seq
	if e.Late {
		s.LastSeq = 0
	}
}

// apply is the fold's one step: it moves s past e and says what to answer. known
// says of a told report whether the event it is about has been applied.
func (m Machine) apply(s *State, e Entry, known bool) Decision {
	s.mark(e)
	if e.Told != nil {
		if s.EventID == "" {
			s.EventID = e.ID // as ParseState has it: nothing is about a report
		}
		return applyTold(s, e, known)
	}
	s.EventID = e.ID
	if s.Missing == e.ID {
		s.Missing = ""
	}
	if e.Parked {
		s.Acted = false
		s.forget()
		return Decision{Kind: ParkedKind, Step: s.Step, Hold: true, Reason: "the event is in the failed set"}
	}
	d, ok := m.copied(s, e)
	if !ok {
		d = m.applyNew(s, e)
	}
	if e.Otherwise {
		s.hold(e.Key)
	}
	return d
}

// applyNew applies an event that is no copy by its bytes.
func (m Machine) applyNew(s *State, e Entry) Decision {
	ended := s.Ended()
	d := m.applyEvent(s, e)
	d.Step = s.Step
	if ended && d.Kind != Copy {
		d.Kind, d.Action, d.Hold = Late, nil, false
	}
	s.Acted = d.Action != nil
	if e.Name != telesign.CallCompleted {
		s.remember(e)
		s.Mute = s.Print != 0 && !s.Acted
	}
	return d
}

func (m Machine) applyEvent(s *State, e Entry) Decision {
	switch {
	case e.Name == telesign.CallCompleted:
		return applyEnd(s, e)
	case s.Ended() && e.Digits == "" && !starts(e.Name):
		return Decision{Kind: Late} // nobody was there to press anything
	case s.Asked == askedNothing && starts(e.Name):
		return m.applyStart(s, e)
	case s.Held:
		return m.applyHeld(s, e)
	case s.Asked == askedNothing:
		return Decision{Kind: Held, Hold: true, Reason: "the call has not begun"}
	case s.Asked == askedOver:
		return Decision{Kind: Over, Action: telesign.Hangup{}}
	}
	step := m.step(s)
	switch {
	case s.inFlow() && step == nil:
		s.Fail = reasonFlowMissing
		return m.apologize(s, Held, "")
	case telesign.Completes(e.Name, methodOf(s, step)):
		return m.complete(s, e)
	case s.Unsure:
		return Decision{Kind: Held, Hold: true, Reason: "what the caller was told is not known"}
	case e.Name.EndsPrompt():
		// The end of a prompt that this state did not send: of a hold whose report
		// never came.
		return m.deliver(s, HoldEnded, "the end of a prompt that was not sent")
	}
	return Decision{Kind: Held, Hold: true, Reason: "does not fit what the caller was told"}
}

// applyStart begins the conversation.
func (m Machine) applyStart(s *State, e Entry) Decision {
	s.Held, s.HeldAt, s.Missing = false, 0, ""
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

// applyEnd records the end. TeleSign ignores the answer.
func applyEnd(s *State, e Entry) Decision {
	if s.Ended() {
		return Decision{Kind: Copy}
	}
	over := end{}
	if e.End != nil {
		over = *e.End
	}
	over.At = e.Key
	over.ByFlow = s.Asked == askedOver && !s.Held
	s.End = &over
	return Decision{Kind: Ended}
}

// applyTold brings the state in line with what ingress answered by itself, or with
// nobody knowing what the caller heard. A report about an event that has not been
// applied makes the call wait for that event.
func applyTold(s *State, e Entry, known bool) Decision {
	d := Decision{Kind: Reported, Step: s.Step, Reason: string(e.Told.Answer)}
	newest := known && e.Told.EventID == s.EventID
	if newest && s.Acted && !s.Held && s.Copies == 0 && e.Told.Answer != messages.ToldUnknown && s.Asked != askedOver && s.Prompts > 0 {
		s.Prompts-- // it was not heard, unless a copy's answer was; it counts when it is delivered
	}
	switch e.Told.Answer {
	case messages.ToldUnknown:
		// What was decided since for another event, or for a copy, is not in doubt.
		s.Unsure = s.Unsure || newest && !s.Ended()
		return d
	case messages.ToldHangup:
		s.forget()
		s.Asked, s.Held = askedOver, false
		return d
	case messages.ToldApology:
		s.forget()
		if !s.Ended() {
			s.Asked, s.Held, s.HeldAt, s.Missing = askedApology, false, 0, ""
			s.Fail = reasonHeldTooLong
		}
		return d
	case messages.ToldNothing:
		if newest {
			s.forget()
		}
		if !newest || !s.Acted || s.Ended() {
			return d // nothing was due for that event
		}
	case messages.ToldHold:
		s.Holds++
	}
	s.forget()
	s.hold(e.Key)
	if !known {
		s.Missing = e.Told.EventID
	}
	return d
}

// hold notes that the caller was told something else than what is due.
func (s *State) hold(at int64) {
	if !s.Held && s.HeldAt == 0 {
		s.HeldAt = at
	}
	s.Held = true
}

// applyHeld handles an event while the caller is on hold: its completion delivers
// what is due. Keys pressed during a hold are no answer, since nothing was asked.
func (m Machine) applyHeld(s *State, e Entry) Decision {
	switch {
	case !e.Name.EndsPrompt() && s.Asked != askedNothing:
		return Decision{Kind: Held, Hold: true, Reason: "on hold"}
	case m.Limits.HoldFor > 0 && s.HeldAt != 0 && e.Key-s.HeldAt >= m.Limits.HoldFor.Microseconds():
		s.Held, s.Missing, s.HeldAt = false, "", 0
		s.Fail = reasonHeldTooLong
		return m.apologize(s, Held, "")
	case s.Missing != "":
		return Decision{Kind: Held, Hold: true, Reason: "an earlier event is still being processed"}
	case s.Asked == askedNothing:
		return Decision{Kind: Held, Hold: true, Reason: "the call has not begun"}
	}
	s.Held, s.HeldAt = false, 0
	return m.deliver(s, HoldEnded, "")
}

// deliver gives the outstanding prompt once more. Each time counts as a prompt, so
// that a call in which nothing ever fits still ends.
func (m Machine) deliver(s *State, kind DecisionKind, reason string) Decision {
	switch {
	case s.Asked == askedOver:
		return Decision{Kind: kind, Action: telesign.Hangup{}, Reason: reason}
	case s.Asked == askedApology && m.Limits.Apology == "": // it was ingress that apologised
		return over(s, kind)
	}
	if m.tooLong(s) {
		return m.fail(s, kind, reasonTooLong)
	}
	s.Prompts++
	return Decision{Kind: kind, Action: m.outstanding(s), Reason: reason}
}
