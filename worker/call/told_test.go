package call_test

import (
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/call"
)

// Ingress gave up holding and apologised: the end of that ends the call.
func TestApologyToldByIngress(t *testing.T) {
	t.Parallel()
	const (
		hello  = "speak Hello Ann, press 1 to begin. [max 1]"
		rating = "play https://audio.example.com/rating.wav [max 1]"
	)
	tests := map[string]struct {
		apology string // the worker's own
		script  []string
		want    string // as summary has it
		holds   int
	}{
		"after holds": {"Sorry.", []string{
			"1s dial_completed answered => begun: " + hello,
			"5s speak_completed 1 => routed: " + rating,
			"8s told hold 2 => reported: {}",
			"10s speak_completed => hold_ended: " + rating,
			"12s told apology 4 => reported: {}",
			"14s speak_completed => over: hangup",
			"15s call_completed => ended: {}",
		}, "failed held_too_long//rating/flow", 1},
		"a worker without words of its own": {"", []string{
			"1s dial_completed answered => begun: " + hello,
			"3s told apology 1 => reported: {}",
			"6s speak_completed => over: hangup",
			"7s call_completed => ended: {}",
		}, "failed held_too_long//hello/flow", 0},
		"and its end has another name": {"", []string{
			"1s dial_completed answered => begun: " + hello,
			"3s told apology 1 => reported: {}",
			"6s play_completed => hold_ended: hangup",
			"7s call_completed => ended: {}",
		}, "failed held_too_long//hello/flow", 0},
		"a key is no answer to it": {"Sorry.", []string{
			"1s dial_completed answered => begun: " + hello,
			"3s told apology 1 => reported: {}",
			"6s speak_completed 1 => over: hangup",
			"7s call_completed => ended: {}",
		}, "failed held_too_long//hello/flow", 0},
		"then ingress ends the call": {"Sorry.", []string{
			"1s dial_completed answered => begun: " + hello,
			"3s told apology 1 => reported: {}",
			"6s speak_completed => over: hangup",
			"7s told hangup 3 => reported: {}",
			"8s call_completed => ended: {}",
		}, "failed held_too_long//hello/flow", 0},
		"hung up during it": {"Sorry.", []string{
			"1s dial_completed answered => begun: " + hello,
			"3s told apology 1 => reported: {}",
			"4s call_completed => ended: {}",
		}, "failed held_too_long//hello/person", 0},
		"hung up before it": {"Sorry.", []string{
			"1s dial_completed answered => begun: " + hello,
			"2s call_completed => ended: {}",
			"3s told apology 1 => reported: {}",
		}, "hung_up//hello/person", 0},
		"equal bytes after it are its end": {"Sorry.", []string{
			"1s dial_completed answered => begun: " + hello,
			"5s speak_completed => no_input: speak Please press a key. [max 1]",
			"5.001s told apology 2 => reported: {}",
			"5.002s speak_completed => over: hangup",
			"5.003s speak_completed => copy: hangup",
		}, "//hello/", 0},
		"equal bytes after a hangup are not what it followed": {"Sorry.", []string{
			"1s dial_completed answered => begun: " + hello,
			"5s speak_completed => no_input: speak Please press a key. [max 1]",
			"5.001s told hangup 2 => reported: {}",
			"5.002s speak_completed => over: hangup",
		}, "//hello/", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t, compile(t, survey))
			l.machine.Limits.Apology = tt.apology
			l.play(tt.script)
			l.folds()
			if got := l.summary(); got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			if r, err := l.machine.Record(l.state, l.log, 1); err != nil || r.Holds != tt.holds {
				t.Errorf("got %d holds, error %v; want %d", r.Holds, err, tt.holds)
			}
		})
	}
}

// A report is stepped before the event that it is about: the event is put before
// it, and what the report says counts from there.
func TestReportsBeforeTheirEvents(t *testing.T) {
	t.Parallel()
	tests := map[messages.ToldAnswer]struct{ report, next string }{
		messages.ToldUnknown: {"reported: {}", "copy: play https://audio.example.com/rating.wav [max 1]"},
		messages.ToldHold:    {"reported: {}", "hold_ended: play https://audio.example.com/rating.wav [max 1]"},
		messages.ToldApology: {"reported: {}", "over: hangup"},
		messages.ToldHangup:  {"reported: {}", "over: hangup"},
	}
	for answer, want := range tests {
		t.Run(string(answer), func(t *testing.T) {
			t.Parallel()
			l := newLine(t, compile(t, survey))
			l.step(l.event("dial_completed answered"))
			event := l.event("speak_completed 1")
			report := l.told(event, answer)
			if got := show(l.step(report).Decision); got != want.report {
				t.Fatalf("the report: got %s, want %s", got, want.report)
			}
			if out := l.step(event); !out.Rewrite || out.Decision.Kind != call.Routed {
				t.Fatalf("the event: got %s, rewritten %v; want it routed, in its place", show(out.Decision), out.Rewrite)
			}
			if got := show(l.step(l.event("speak_completed 1")).Decision); got != want.next {
				t.Errorf("the same bytes after it: got %s, want %s", got, want.next)
			}
			l.folds()
		})
	}
}

// Whether an answer was heard is not known, and the event itself is still under
// way: nobody is put on hold for that.
func TestNotKnownIsNoHold(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	missing := l.event("speak_completed")
	l.step(l.told(missing, messages.ToldUnknown))
	if got, want := show(l.step(l.event("speak_completed 1")).Decision), "routed: play https://audio.example.com/rating.wav [max 1]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if l.state.Held || l.state.Holds != 0 {
		t.Errorf("held %v, %d holds; want none", l.state.Held, l.state.Holds)
	}
}

// A redelivery of an event that was answered with a hold gets a hold, not the
// prompt that stands.
func TestRedeliveryOfWhatDidNotFit(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	e := l.event("recording_started")
	for range 2 {
		if d := l.step(e).Decision; !d.Hold {
			t.Errorf("got %s, want a hold each time", show(d))
		}
	}
}
