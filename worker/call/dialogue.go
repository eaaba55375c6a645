package call

import (
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

// Reasons of a failed call.
const (
	reasonTooLong     = "too_long"      // heard Limits.MaxPrompts prompts
	reasonHeldTooLong = "held_too_long" // was on hold for Limits.HoldFor
	reasonFlowMissing = "flow_missing"  // its flow version is nowhere to be had
)

// inFlow reports whether the prompt that stands is a step's.
func (s *State) inFlow() bool {
	return s.Asked == askedPrompt || s.Asked == askedNoInput || s.Asked == askedInvalid
}

// step is the step the call is in; nil when the flow does not have it.
func (m Machine) step(s *State) *flow.Step {
	if m.Program == nil {
		return nil
	}
	return m.Program.Steps[s.Step]
}

// complete handles the end of the prompt that the caller was told.
func (m Machine) complete(s *State, e Entry) Decision {
	if s.Asked == askedApology {
		return over(s, Over)
	}
	step := m.step(s)
	if !(telesign.Event{Name: e.Name, Status: e.Status, Digits: e.Digits}).PromptSucceeded() {
		return m.promptFailed(s, PromptFail, e.Status)
	}
	q := step.Question
	if q == nil {
		return m.leave(s, Said, step)
	}
	match := q.Match(e.Digits)
	if q.Any && match.Value == "" {
		s.GaveUp = true
		return m.leave(s, NoInput, step)
	}
	s.Keyed = s.Keyed || match.Kind != flow.NoInput
	switch match.Kind {
	case flow.Accepted:
		s.GaveUp = false
		s.save(q.Save, match, e)
		return m.leave(s, Accepted, step)
	case flow.Routed:
		s.GaveUp = false
		s.save(q.Save, match, e)
		return m.goTo(s, Routed, match.Target)
	case flow.Repeat:
		return m.retry(s, Repeated, q, flow.Retry{Next: q.NoInput.Next}, 0, askedPrompt)
	case flow.Invalid:
		s.Invalids++
		return m.retry(s, Invalid, q, q.Invalid, s.Invalids, askedInvalid)
	case flow.NoInput:
	}
	s.NoInputs++
	return m.retry(s, NoInput, q, q.NoInput, s.NoInputs, askedNoInput)
}

// retry asks again, or gives the question up when its tries are spent: all of them
// together, or those of this one cause.
func (m Machine) retry(s *State, kind DecisionKind, q *flow.Question, r flow.Retry, times int, how asked) Decision {
	if s.Tries >= q.Tries || (r.Tries > 0 && times >= r.Tries) {
		s.GaveUp = true
		return m.goTo(s, kind, r.Next)
	}
	s.Tries++
	if r.Prompt.IsZero() {
		how = askedPrompt
	}
	return m.ask(s, kind, how)
}

func (s *State) save(name string, match flow.Match, e Entry) {
	if name == "" || match.Value == "" {
		return
	}
	answers := make([]answer, 0, len(s.Answers)+1)
	for _, a := range s.Answers {
		if a.Name != name {
			answers = append(answers, a)
		}
	}
	s.Answers = append(answers, answer{Name: name, Value: match.Value, Label: match.Label, Step: s.Step, At: e.Key})
}

// leave goes on from a step that has been heard and, if it asked, answered.
func (m Machine) leave(s *State, kind DecisionKind, step *flow.Step) Decision {
	if step.Hangup != "" {
		s.Word = step.Hangup
		return over(s, kind)
	}
	return m.goTo(s, kind, step.Next)
}

// goTo enters a target. Steps that say nothing are passed through; the checker
// refuses circles of them, and the bound here holds even if it did not.
func (m Machine) goTo(s *State, kind DecisionKind, target string) Decision {
	for range len(m.Program.Steps) + 1 {
		step := m.Program.Steps[target]
		if step == nil { // TargetHangup, or a cause for which the flow names no way on
			return over(s, kind)
		}
		s.Step, s.Tries, s.NoInputs, s.Invalids = target, 1, 0, 0
		s.OptedOut = s.OptedOut || step.OptOut
		if step.Question == nil && step.Hangup != "" && (step.Prompt.IsZero() || !m.tooLong(s)) {
			s.Word = step.Hangup
		}
		if !step.Prompt.IsZero() {
			return m.ask(s, kind, askedPrompt)
		}
		if step.Hangup != "" {
			return over(s, kind)
		}
		target = step.Next
	}
	return m.fail(s, kind, reasonTooLong)
}

// ask gives a prompt of the present step.
func (m Machine) ask(s *State, kind DecisionKind, how asked) Decision {
	if m.tooLong(s) {
		return m.fail(s, kind, reasonTooLong)
	}
	s.Asked, s.Instead = how, false
	s.Prompts++
	action := m.outstanding(s)
	if err := action.Validate(); err != nil {
		return m.promptFailed(s, kind, err.Error())
	}
	return Decision{Kind: kind, Action: action}
}

// promptFailed handles a prompt that could not be played: its text is said once
// instead. No try is spent. If that fails too, or there is none, the step goes
// where it goes when nothing is pressed.
func (m Machine) promptFailed(s *State, kind DecisionKind, reason string) Decision {
	step := m.step(s)
	p := promptOf(s, step)
	if !s.Instead && !p.Play.IsZero() && !p.Speak.IsZero() && !m.tooLong(s) {
		s.Instead = true
		s.Prompts++
		if action := m.outstanding(s); action.Validate() == nil {
			return Decision{Kind: kind, Action: action, Reason: reason}
		}
	}
	var d Decision
	if q := step.Question; q != nil && !q.Any {
		s.GaveUp = true
		d = m.goTo(s, kind, q.NoInput.Next)
	} else {
		s.GaveUp = s.GaveUp || q != nil
		d = m.leave(s, kind, step)
	}
	if d.Reason == "" {
		d.Reason = reason
	}
	return d
}

// apologize says that the call cannot go on; the end of it hangs up.
func (m Machine) apologize(s *State, kind DecisionKind, word string) Decision {
	if word != "" {
		s.Word = word
	}
	if m.Limits.Apology == "" {
		return over(s, kind)
	}
	s.Asked = askedApology
	s.Prompts++
	return Decision{Kind: kind, Action: m.outstanding(s), Reason: word}
}

func (m Machine) fail(s *State, kind DecisionKind, reason string) Decision {
	s.Fail = reason
	d := over(s, kind)
	d.Reason = reason
	return d
}

func over(s *State, kind DecisionKind) Decision {
	s.Asked, s.FlowEnded = askedOver, true
	return Decision{Kind: kind, Action: telesign.Hangup{}}
}

func (m Machine) tooLong(s *State) bool {
	return m.Limits.MaxPrompts > 0 && s.Prompts >= m.Limits.MaxPrompts
}

// promptOf is the prompt of step that stands. A re-prompt without words of its own
// has those of the step, in case its audio fails.
func promptOf(s *State, step *flow.Step) flow.Prompt {
	p := step.Prompt
	switch s.Asked {
	case askedNoInput:
		p = step.Question.NoInput.Prompt
	case askedInvalid:
		p = step.Question.Invalid.Prompt
	case askedPrompt, askedNothing, askedApology, askedOver:
	}
	if p.Speak.IsZero() {
		p.Speak, p.Language = step.Prompt.Speak, step.Prompt.Language
	}
	return p
}

// outstanding is the action that stands: what the caller was told, or is due to
// be. It is rendered from the state alone, so that it comes out the same each time.
// It shares what it collects with the program.
func (m Machine) outstanding(s *State) telesign.Action {
	step := m.step(s)
	switch method := methodOf(s, step); {
	case method == telesign.MethodHangup:
		return telesign.Hangup{}
	case !s.inFlow() || step == nil:
		return telesign.Speak{Message: m.Limits.Apology, Language: m.Limits.ApologyLanguage}
	case method == telesign.MethodPlay:
		return telesign.Play{URL: promptOf(s, step).Play.Render(m.values(s)), CollectDigits: collectOf(step)}
	}
	p := promptOf(s, step)
	return telesign.Speak{Message: p.Speak.Render(m.values(s)), Language: p.Language, CollectDigits: collectOf(step)}
}

// methodOf is the method of the action that stands, which is not rendered for it.
func methodOf(s *State, step *flow.Step) telesign.Method {
	switch {
	case s.Asked == askedApology || s.inFlow() && step == nil:
		return telesign.MethodSpeak
	case !s.inFlow():
		return telesign.MethodHangup
	case s.Instead || promptOf(s, step).Play.IsZero():
		return telesign.MethodSpeak
	}
	return telesign.MethodPlay
}

// collectOf is what a step listens for, nil when it does not.
func collectOf(step *flow.Step) *telesign.CollectDigits {
	if step.Question == nil {
		return nil
	}
	return &step.Question.Collect
}

// values looks template variables up in s.
func (m Machine) values(s *State) func(name string) string {
	return func(name string) string { return m.lookup(s, name) }
}

// lookup is the value of a template variable.
func (m Machine) lookup(s *State, name string) string {
	scope, key, _ := strings.Cut(name, ".")
	switch scope {
	case "contact":
		if v := s.Facts.Contact[key]; strings.TrimSpace(v) != "" {
			return v
		}
		for _, c := range m.Program.Contact {
			if c.Name == key {
				return c.Default
			}
		}
	case "answers":
		for _, a := range s.Answers {
			if a.Name == key {
				return a.Value
			}
		}
	case "call":
		return s.callFact(key)
	}
	return ""
}

func (s *State) callFact(key string) string {
	switch key {
	case "id":
		return s.CallID
	case "direction":
		return s.Facts.Direction
	case "from":
		return s.Facts.From
	case "to":
		return s.Facts.To
	case "attempt":
		return strconv.Itoa(max(s.Facts.Attempt, 1))
	case "answered_at":
		if s.Begun != 0 {
			return time.UnixMicro(s.Begun).UTC().Format(time.RFC3339)
		}
	}
	return ""
}
