package call_test

import (
	"testing"
)

// A prompt that the caller did not hear, because ingress answered with a hold, counts
// once: when it is delivered. A long outage must not use up what a call may hear.
func TestAPromptThatWasNotHeardIsNotCounted(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.machine.Limits.MaxPrompts = 3
	l.play([]string{
		"1s dial_completed answered => begun: speak Hello Ann, press 1 to begin. [max 1]",
		"3s told hold 1 => reported: {}",
		"5s speak_completed => hold_ended: speak Hello Ann, press 1 to begin. [max 1]",
		"7s told hold 3 => reported: {}",
		"9s speak_completed => hold_ended: speak Hello Ann, press 1 to begin. [max 1]",
		"11s told hold 5 => reported: {}",
		"13s speak_completed => hold_ended: speak Hello Ann, press 1 to begin. [max 1]",
	})
	r, err := l.machine.Record(l.state, l.log, 1)
	if err != nil {
		t.Fatal(err)
	}
	if r.Prompts != 1 || r.Holds != 3 {
		t.Errorf("got %d prompts and %d holds, want 1 and 3", r.Prompts, r.Holds)
	}
}
