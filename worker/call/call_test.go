package call_test

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

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

// TestDialogues plays whole calls: an event, the action it must get, and at the
// end the disposition, the answers and the last step.
func TestDialogues(t *testing.T) {
	t.Parallel()
	const (
		hello   = "speak Hello Ann, press 1 to begin. [max 1]"
		rating  = "play https://audio.example.com/rating.wav [max 1]"
		press   = "speak Please press a key. [max 1]"
		wrong   = "speak That is not one of the choices. [max 1]"
		goodbye = "speak Goodbye."
	)
	tests := []struct {
		name   string
		flow   string
		script []string // event => kind: action
		want   string   // disposition reason / answers / last step / who hung up
	}{
		{"a survey, whole", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed 3 => accepted: speak You said 3. Will you come again? 1 yes, 2 no. [max 1]",
			"speak_completed 1 => accepted: speak Thank you. Goodbye.",
			"speak_completed => said: hangup",
			"call_completed => ended: {}",
		}, "completed/rating=3(middling) again=1(yes)/thanks/flow"},
		{"hung up while thanks is said", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed 5 => accepted: speak You said 5. Will you come again? 1 yes, 2 no. [max 1]",
			"speak_completed 2 => accepted: speak Thank you. Goodbye.",
			"call_completed => ended: {}",
		}, "completed/rating=5(very good) again=2(no)/thanks/person"},
		{"hung up after one answer", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed 1 => accepted: speak You said 1. Will you come again? 1 yes, 2 no. [max 1]",
			"call_completed => ended: {}",
		}, "partial/rating=1(very bad)/again/person"},
		{"hung up at once", survey, []string{
			"dial_completed answered => begun: " + hello,
			"call_completed => ended: {}",
		}, "hung_up//hello/person"},
		{"three silences reach the end of tries, though their bytes are equal", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed => no_input: " + press,
			"speak_completed => no_input: " + press,
			"speak_completed => no_input: " + goodbye,
			"speak_completed => said: hangup",
			"call_completed => ended: {}",
		}, "hung_up//goodbye/flow"},
		{"one cause has fewer tries", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed => no_input: " + press,
			"speak_completed => no_input: speak Example Clinic called.",
			"speak_completed => said: hangup",
			"call_completed => ended: {}",
		}, "no_response//voicemail/flow"},
		{"all causes together", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed 7 => invalid: " + wrong,
			"speak_completed * => repeated: " + rating,
			"play_completed => no_input: " + goodbye,
			"speak_completed => said: hangup",
			"call_completed => ended: {}",
		}, "hung_up//goodbye/flow"},
		{"opting out wins", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed 9 => routed: speak We will not call you again.",
			"call_completed => ended: {}",
		}, "opted_out//stop/person"},
		{"failed audio is spoken once, no try spent", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed failed => prompt_failed: speak How was your visit? [max 1]",
			"speak_completed => no_input: " + press,
			"speak_completed 2 => accepted: speak You said 2. Will you come again? 1 yes, 2 no. [max 1]",
			"call_completed => ended: {}",
		}, "partial/rating=2(middling)/again/person"},
		{"speech that fails too goes where silence goes", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"play_completed failed => prompt_failed: speak How was your visit? [max 1]",
			"speak_completed failed => prompt_failed: " + goodbye,
			"speak_completed => said: hangup",
			"call_completed => ended: {}",
		}, "hung_up//goodbye/flow"},
		{"nobody answered", survey, []string{
			"dial_completed busy => not_reached: hangup",
			"call_completed => ended: {}",
		}, "busy///"},
		{"a word nobody has seen", survey, []string{
			"dial_completed carrier_exploded => not_reached: hangup",
			"call_completed => ended: {}",
		}, "failed carrier_exploded///"},
		{"no key, then a late answer after the end", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"call_completed => ended: {}",
			"play_completed 4 => late: {}",
		}, "partial/rating=4(middling)/again/person"},
		{"copies of what happens once", survey, []string{
			"dial_completed answered => begun: " + hello,
			"dial_completed answered => copy: " + hello,
			"speak_completed 1 => routed: " + rating,
			"dial_completed answered => copy: " + hello,
			"play_completed 4 => accepted: speak You said 4. Will you come again? 1 yes, 2 no. [max 1]",
			"dial_completed busy => held: HOLD",
			"call_completed => ended: {}",
			"dial_completed answered => copy: " + hello,
			"call_completed => copy: {}",
		}, "partial/rating=4(middling)/again/person"},
		{"hung up, and the prompt's end comes after the call's", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed => no_input: " + press,
			"call_completed => ended: {}",
			"speak_completed => late: {}",
		}, "hung_up//hello/person"},
		{"a re-prompt whose audio fails is spoken in the step's words", strings.Replace(survey, `no_input: { tries: 2, next: voicemail }`, `no_input: { play: "https://audio.example.com/press.wav", next: voicemail }`, 1), []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed => no_input: play https://audio.example.com/press.wav [max 1]",
			"play_completed failed => prompt_failed: " + hello,
			"speak_completed 1 => routed: " + rating,
			"call_completed => ended: {}",
		}, "hung_up//rating/person"},
		{"the end of a prompt that was not sent delivers what is due", survey, []string{
			"dial_completed answered => begun: " + hello,
			"speak_completed 1 => routed: " + rating,
			"speak_completed => hold_ended: " + rating,
			"play_completed 1 => accepted: speak You said 1. Will you come again? 1 yes, 2 no. [max 1]",
			"call_completed => ended: {}",
		}, "partial/rating=1(very bad)/again/person"},
		{"an event before the call began", survey, []string{
			"speak_completed 1 => held: HOLD",
			"call_completed => ended: {}",
		}, "hung_up///person"},
		{"an unknown event", survey, []string{
			"dial_completed answered => begun: " + hello,
			"recording_started => held: HOLD",
			"speak_completed 1 => routed: " + rating,
			"call_completed => ended: {}",
		}, "hung_up//rating/person"},
		{"TeleSign's page", "name: p\nstart: { answered: m }\nsteps:\n  m:\n    play: https://url-pointing-to-audio-file.com\n    collect_digits: { max: 5, timeout: 10s, inter_digit_timeout: 3s, terminators: \"#\" }\n    next: hangup\n", []string{
			"dial_completed answered => begun: play https://url-pointing-to-audio-file.com [max 5]",
			"play_completed 123# => accepted: hangup",
			"call_completed => ended: {}",
		}, "completed//m/flow"},
		{"TeleSign's page, silent", "name: p\nstart: { answered: m }\nsteps:\n  m:\n    play: https://url-pointing-to-audio-file.com\n    collect_digits: { max: 5, terminators: \"#\" }\n    next: hangup\n", []string{
			"dial_completed answered => begun: play https://url-pointing-to-audio-file.com [max 5]",
			"play_completed # => no_input: hangup",
			"call_completed => ended: {}",
		}, "no_response//m/flow"},
		{"a notification that is heard", "name: n\nlanguage: en-US\nstart: { answered: m }\nsteps:\n  m: { speak: Dinner., next: hangup }\n", []string{
			"dial_completed answered => begun: speak Dinner.",
			"speak_completed => said: hangup",
			"call_completed => ended: {}",
		}, "completed//m/flow"},
		{"an incoming call that the flow does not take", "name: n\nlanguage: en-US\nstart: { answered: m }\nsteps:\n  m: { speak: Dinner., next: hangup }\n", []string{
			"incoming_call => begun: speak Sorry.",
			"speak_completed => over: hangup",
			"call_completed => ended: {}",
		}, "no_flow///flow"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t, compile(t, tt.flow))
			for i, s := range tt.script {
				event, want, _ := strings.Cut(s, " => ")
				if got := show(l.step(l.event(event)).Decision); got != want {
					t.Fatalf("event %d, %s\n got %s\nwant %s", i+1, event, got, want)
				}
			}
			if got := l.summary(); got != tt.want {
				t.Errorf("outcome\n got %s\nwant %s", got, tt.want)
			}
		})
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

func TestHoldKeepsTheDecisionDue(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	begin := l.event("dial_completed answered")
	l.step(begin)
	answer := l.event("speak_completed 1")
	if got := show(l.step(answer).Decision); !strings.HasPrefix(got, "routed: play") {
		t.Fatal(got)
	}
	// The decision did not reach the caller: ingress said a hold.
	l.step(l.told(answer, messages.ToldHold))
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the end of the hold got %s", got)
	}
	if got := show(l.step(l.event("play_completed 5")).Decision); !strings.HasPrefix(got, "accepted: speak You said 5") {
		t.Fatalf("the answer got %s", got)
	}
	l.step(l.event("call_completed"))
	if got, want := l.summary(), "partial/rating=5(very good)/again/person"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	r, err := l.machine.Record(l.state, l.log, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Holds != 1 {
		t.Errorf("holds: got %d, want 1", r.Holds)
	}
}

// A worker died with the event in hand; ingress told a hold and the hold's end is
// here before the event is.
func TestHoldOfAnEventThatIsStillUnderWay(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	missing := l.event("speak_completed 1")
	l.step(l.told(missing, messages.ToldHold))
	holdEnd := l.event("speak_completed")
	if got := show(l.step(holdEnd).Decision); got != "held: HOLD" {
		t.Fatalf("the hold's end before the event: got %s", got)
	}
	l.step(l.told(holdEnd, messages.ToldHold))
	out := l.step(missing)
	if !out.Rewrite {
		t.Error("the late event must be put in its place")
	}
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the second hold's end got %s", got)
	}
}

func TestParkedEventLetsTheCallGoOn(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	bad := l.event("speak_completed 1")
	l.step(call.ParkedEntry(bad.ID, time.UnixMicro(bad.Key), bad.Seq, false, "speak_completed"))
	l.step(l.told(bad, messages.ToldHold))
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: speak Hello Ann, press 1 to begin. [max 1]" {
		t.Fatalf("got %s", got)
	}
}

func TestHoldsEndWithAnApology(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	held := l.event("speak_completed 1")
	for range 60 {
		l.step(l.told(held, messages.ToldHold))
		held = l.event("speak_completed")
		out := l.step(held)
		if out.Decision.Hold {
			continue
		}
		if got := show(out.Decision); got != "held: speak Sorry." {
			t.Fatalf("got %s", got)
		}
		if got := show(l.step(l.event("speak_completed")).Decision); got != "over: hangup" {
			t.Fatalf("after the apology: got %s", got)
		}
		l.step(l.event("call_completed"))
		if got, want := l.summary(), "failed held_too_long//hello/flow"; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		return
	}
	t.Fatal("60 holds in a row, and no apology")
}

func TestHundredPromptsAreTooLong(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, "name: p\nlanguage: en-US\nstart: { answered: a }\nsteps:\n  a: { speak: Again, digits: { \"1\": b }, no_input: hangup, invalid: hangup }\n  b: { speak: And again, digits: { \"1\": a }, no_input: hangup, invalid: hangup }\n"))
	got := l.step(l.event("dial_completed answered")).Decision
	for range 99 {
		got = l.step(l.event("speak_completed 1")).Decision
		if got.Action.Method() != telesign.MethodSpeak {
			t.Fatalf("ended after %d prompts: %s", l.next, show(got))
		}
	}
	if got = l.step(l.event("speak_completed 1")).Decision; show(got) != "routed: hangup" {
		t.Fatalf("prompt 101: got %s", show(got))
	}
	l.step(l.event("call_completed"))
	if got, want := l.summary(), "failed too_long//a/flow"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestRedeliveryGetsTheSameAction(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	var entries []call.Entry
	var actions []string
	for _, words := range []string{"dial_completed answered", "speak_completed 1", "play_completed 7", "speak_completed 2", "speak_completed 1"} {
		e := l.event(words)
		entries = append(entries, e)
		body, err := l.step(e).Decision.Body()
		if err != nil {
			t.Fatal(err)
		}
		actions = append(actions, string(body))
	}
	for i, e := range entries {
		before := l.state
		out := l.step(e)
		body, err := out.Decision.Body()
		if err != nil {
			t.Fatal(err)
		}
		if !out.Known || string(body) != actions[i] {
			t.Errorf("redelivery of event %d: known %v, action %s, want %s", i+1, out.Known, body, actions[i])
		}
		if diff := gocmp.Diff(before, l.state); diff != "" {
			t.Errorf("redelivery of event %d changed the state:\n%s", i+1, diff)
		}
	}
}

// The second ingress's clock is seconds behind: the stream's order is what counts,
// in whichever order the two are stepped.
func TestClockSkewOfIngresses(t *testing.T) {
	t.Parallel()
	for _, swapped := range []bool{false, true} {
		l := newLine(t, compile(t, survey))
		entries := []call.Entry{l.event("dial_completed answered"), l.event("speak_completed 1"), l.event("play_completed 2"), l.event("speak_completed 2")}
		entries[2].Key -= (3 * time.Second).Microseconds()
		if swapped {
			entries[1], entries[2] = entries[2], entries[1]
		}
		for _, e := range entries {
			l.step(e)
		}
		for _, e := range entries {
			if !l.step(e).Known {
				t.Errorf("swapped %v: the redelivery of %s is not recognised", swapped, e.ID)
			}
		}
		l.step(l.event("call_completed"))
		if got, want := l.summary(), "completed/rating=2(middling) again=2(no)/thanks/person"; got != want {
			t.Errorf("swapped %v: got %s, want %s", swapped, got, want)
		}
	}
}

// The answer to the first question was held up in an outage; its hold's end was
// answered from the state before it, live. Putting it in its place must not make
// the caller's next key the answer to a question that was never asked.
func TestWhatACallerHeardCannotBeTakenBack(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	live := func(words string) call.Entry {
		e := l.event(words)
		e.Live = true
		return e
	}
	l.step(live("dial_completed answered"))
	l.step(live("speak_completed 1"))
	held := live("play_completed 1") // an answer to rating, not stepped yet
	told := l.told(held, messages.ToldHold)
	if got := show(l.step(live("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the hold's end got %s", got)
	}
	l.step(held)
	l.step(told)
	// The caller hears rating once more, and answers that.
	if got := show(l.step(live("play_completed 2")).Decision); got != "hold_ended: speak You said 1. Will you come again? 1 yes, 2 no. [max 1]" {
		t.Fatalf("the key pressed at rating got %s", got)
	}
	l.step(live("speak_completed 1"))
	l.step(live("call_completed"))
	if got, want := l.summary(), "completed/rating=1(very bad) again=1(yes)/thanks/person"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAReportAboutAnOlderEventHoldsOnce(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	answer := l.event("speak_completed 1")
	l.step(answer)
	l.step(l.event("recording_started"))
	l.step(l.told(answer, messages.ToldHold))
	if got := show(l.step(l.event("speak_completed")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Errorf("the hold's end got %s", got)
	}
}

func TestNothingToldInsteadOfAPrompt(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	unforeseen := l.event("recording_started")
	l.step(unforeseen)
	l.step(l.told(unforeseen, messages.ToldNothing)) // nothing was due for it
	answer := l.event("speak_completed 1")
	if got := show(l.step(answer).Decision); got != "routed: play https://audio.example.com/rating.wav [max 1]" {
		t.Fatalf("the answer got %s", got)
	}
	l.step(l.told(answer, messages.ToldNothing)) // rating was due
	if got := show(l.step(l.event("speak_completed 5")).Decision); got != "hold_ended: play https://audio.example.com/rating.wav [max 1]" {
		t.Errorf("after nothing was told: got %s", got)
	}
}

func TestALimitReachedIsNoCompletion(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.machine.Limits.MaxPrompts = 3
	for _, words := range []string{"dial_completed answered", "speak_completed 1", "play_completed 2"} {
		l.step(l.event(words))
	}
	if got := show(l.step(l.event("speak_completed 1")).Decision); got != "accepted: hangup" {
		t.Fatalf("got %s", got)
	}
	l.step(l.event("call_completed"))
	if got, want := l.summary(), "failed too_long/rating=2(middling) again=1(yes)/thanks/flow"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A flow version that nobody has any more ends the call; it does not hold it.
func TestFlowMissing(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	l.machine.Program = nil
	for _, s := range []string{"speak_completed 1 => held: speak Sorry.", "speak_completed => over: hangup", "call_completed => ended: {}"} {
		event, want, _ := strings.Cut(s, " => ")
		if got := show(l.step(l.event(event)).Decision); got != want {
			t.Fatalf("%s: got %s, want %s", event, got, want)
		}
	}
	if d, reason := l.state.Disposition(); d != messages.DispositionFailed || reason != "flow_missing" {
		t.Errorf("got %s %s, want failed flow_missing", d, reason)
	}
}

// The end may come first, from another ingress: what call it was comes later, and
// the record is the same.
func TestTheEndFirst(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	start, end := l.event("dial_completed busy"), l.event("call_completed")
	if out := l.step(end); !out.Publish || show(out.Decision) != "ended: {}" {
		t.Fatalf("the end: got %s, published %v", show(out.Decision), out.Publish)
	}
	if r, err := l.machine.Record(l.state, l.log, 1); err != nil || r.CallID != "C1" || r.To != "15558675309" || r.Flow != "" {
		t.Errorf("got record %+v, error %v; want one of call C1 without a flow", r, err)
	}
	if out := l.step(start); !out.Publish {
		t.Error("what came late must publish a new revision")
	}
	if r, err := l.machine.Record(l.state, l.log, 2); err != nil || r.Disposition != messages.DispositionBusy || r.Flow != "visit-survey" {
		t.Errorf("got record %+v, error %v; want busy, of visit-survey", r, err)
	}
}

func TestNewerSchemaIsLeftAlone(t *testing.T) {
	t.Parallel()
	_, err := call.ParseState("C1", []byte(`{"v":2,"F":"not even an object any more"}`))
	if !errors.Is(err, call.ErrNewerSchema) {
		t.Errorf("got %v, want ErrNewerSchema", err)
	}
}

func TestNoFlow(t *testing.T) {
	t.Parallel()
	l := &line{t: t, machine: call.Machine{Limits: limits()}, facts: &call.Facts{Direction: call.Inbound}, state: unheard(t)}
	for _, s := range []string{"incoming_call => begun: speak Sorry.", "speak_completed => over: hangup", "call_completed => ended: {}"} {
		event, want, _ := strings.Cut(s, " => ")
		if got := show(l.step(l.event(event)).Decision); got != want {
			t.Fatalf("%s: got %s, want %s", event, got, want)
		}
	}
	if got, want := l.summary(), "no_flow///flow"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
