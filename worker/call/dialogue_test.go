package call_test

import (
	"strings"
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

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
