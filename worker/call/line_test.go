package call_test

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/flow"
)

const survey = `
name: visit-survey
language: en-US
contact: { first_name: there }
question:
  collect_digits: { max: 1, timeout: 10s, inter_digit_timeout: 3s }
  tries: 3
  no_input: { speak: "Please press a key.", next: goodbye }
  invalid:  { speak: "That is not one of the choices.", next: goodbye }
  keys: { "*": repeat, "9": stop }
start: { answered: hello, incoming: hello }
steps:
  hello:
    speak: "Hello ${contact.first_name}, press 1 to begin."
    digits: { "1": rating }
    no_input: { tries: 2, next: voicemail }
  rating:
    play: https://audio.example.com/rating.wav
    speak: "How was your visit?"
    save: rating
    accept: { "1": very bad, "2-4": middling, "5": very good }
    next: again
  again:
    speak: "You said ${answers.rating}. Will you come again? 1 yes, 2 no."
    save: again
    accept: { "1": "yes", "2": "no" }
    next: thanks
  thanks:    { speak: "Thank you. Goodbye.", hangup: completed }
  goodbye:   { speak: "Goodbye.", next: hangup }
  voicemail: { speak: "Example Clinic called.", hangup: no_response }
  stop:      { opt_out: true, speak: "We will not call you again.", hangup: opted_out }
`

func limits() call.Limits {
	return call.Limits{MaxPrompts: 100, HoldFor: 90 * time.Second, Guard: 250 * time.Millisecond, Apology: "Sorry.", ApologyLanguage: "en-US"}
}

func compile(t testing.TB, source string) *flow.Program {
	t.Helper()
	p, err := flow.Compile("test.yaml", []byte(source))
	if err != nil {
		t.Fatalf("compile: %v", err)
	}
	return p
}

var t0 = time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)

// line is one call as a worker would step it: state and log go through their
// stored form between any two steps.
type line struct {
	t       testing.TB
	machine call.Machine
	facts   *call.Facts
	state   call.State
	log     []call.Entry
	next    int
}

func newLine(t testing.TB, p *flow.Program) *line {
	facts := &call.Facts{Flow: p.Name, FlowHash: p.Hash, Direction: call.Outbound, To: "15558675309", From: "15555551212", Contact: map[string]string{"first_name": "Ann"}}
	return &line{t: t, machine: call.Machine{Program: p, Limits: limits()}, facts: facts, state: unheard(t)}
}

// unheard is the state of a call that nobody has heard of.
func unheard(t testing.TB) call.State {
	t.Helper()
	s, err := call.ParseState("C1", nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// step feeds one entry, decided 3 ms after it came if it does not say, and returns
// the decision. What call it is, only its first event tells.
func (l *line) step(e call.Entry) call.Outcome {
	l.t.Helper()
	if l.state.Facts == nil && (e.Name == telesign.IncomingCall || e.Name == telesign.DialCompleted) {
		l.state.Facts = l.facts
	}
	out := l.machine.Step(l.state, l.log, e, time.UnixMicro(e.Key+cmp.Or(e.Took, 3000)))
	if !out.Known {
		if out.Rewrite {
			l.log = nil
		}
		raw, err := call.EncodeLog(out.Entries)
		if err != nil {
			l.t.Fatal(err)
		}
		entries, err := call.ParseLog(raw)
		if err != nil {
			l.t.Fatal(err)
		}
		l.log = append(l.log, entries...)
		data, err := out.State.Encode()
		if err != nil {
			l.t.Fatal(err)
		}
		if l.state, err = call.ParseState("C1", data); err != nil {
			l.t.Fatal(err)
		}
	}
	return out
}

// event makes the entry for "name [status] [digits]"; each is two seconds after the
// one before.
func (l *line) event(words string) call.Entry {
	l.next++
	f := strings.Fields(words)
	e := telesign.Event{Name: telesign.EventName(f[0]), ReferenceID: "C1", To: "15558675309", From: "15555551212"}
	switch {
	case e.Name == telesign.DialCompleted:
		e.Status = f[1]
	case e.Name == telesign.CallCompleted:
		e.Status, e.Duration, e.Direction = "hangup", 60, "outbound"
		e.CreatedOn, e.AnsweredOn, e.EndedOn = t0, t0.Add(4*time.Second), t0.Add(64*time.Second)
	case len(f) > 1 && f[1] == "failed":
		e.Status = "play_failed"
	case len(f) > 1:
		e.Digits = f[1]
	}
	entry := call.EventEntry(fmt.Sprintf("E%d", l.next), t0.Add(time.Duration(l.next)*2*time.Second), uint64(l.next), false, e, l.state.Facts)
	entry.Sum = crc32.ChecksumIEEE([]byte(words))
	return entry
}

func (l *line) told(about call.Entry, answer messages.ToldAnswer) call.Entry {
	l.next++
	return call.ToldEntry(fmt.Sprintf("T%d", l.next), t0.Add(time.Duration(l.next)*2*time.Second), uint64(l.next), false, messages.Told{EventID: about.ID, Answer: answer})
}

// show is an action in a few words.
func show(d call.Decision) string {
	text := string(d.Kind) + ": "
	if d.Hold {
		return text + "HOLD"
	}
	collects := func(c *telesign.CollectDigits) string {
		if c == nil {
			return ""
		}
		return fmt.Sprintf(" [max %d]", c.Max)
	}
	switch a := d.Action.(type) {
	case nil:
		return text + "{}"
	case telesign.Speak:
		return text + "speak " + a.Message + collects(a.CollectDigits)
	case telesign.Play:
		return text + "play " + a.URL + collects(a.CollectDigits)
	default:
		return text + string(a.Method())
	}
}

// summary is what I6 says must not depend on order.
func (l *line) summary() string {
	l.t.Helper()
	r, err := l.machine.Record(l.state, l.log, 7)
	if err != nil {
		l.t.Fatal(err)
	}
	var answers []string
	for _, a := range r.Answers {
		answers = append(answers, fmt.Sprintf("%s=%s(%s)", a.Name, a.Value, a.Label))
	}
	word := string(r.Disposition)
	if r.Reason != "" {
		word += " " + r.Reason
	}
	return strings.Join([]string{word, strings.Join(answers, " "), r.LastStep, string(r.HungUpBy)}, "/")
}
