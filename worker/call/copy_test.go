package call_test

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/call"
)

// play steps a script of "when event => decision", when counted from the call's
// start; "told ANSWER N" is a report about line N, "took D" how long a decision took.
func (l *line) play(script []string) {
	l.t.Helper()
	var entries []call.Entry
	for i, s := range script {
		said, want, _ := strings.Cut(s, " => ")
		said, took, slow := strings.Cut(said, " took ")
		when, said, _ := strings.Cut(said, " ")
		var e call.Entry
		if f := strings.Fields(said); f[0] == "told" {
			about, err := strconv.Atoi(f[2])
			if err != nil {
				l.t.Fatal(err)
			}
			e = l.told(entries[about-1], messages.ToldAnswer(f[1]))
		} else {
			e = l.event(said)
		}
		e.Key = t0.Add(duration(l.t, when)).UnixMicro()
		if slow {
			e.Took = duration(l.t, took).Microseconds()
		}
		entries = append(entries, e)
		if got := show(l.step(e).Decision); got != want {
			l.t.Fatalf("line %d, %s\n got %s\nwant %s", i+1, s, got, want)
		}
	}
}

func duration(t testing.TB, s string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// What is a copy and what is an event of its own, in a call whose first question
// ends after two silences. A decision takes 3 ms unless the script says otherwise.
func TestEqualBytes(t *testing.T) {
	t.Parallel()
	const (
		hello     = "speak Hello Ann, press 1 to begin. [max 1]"
		rating    = "play https://audio.example.com/rating.wav [max 1]"
		ratingTxt = "speak How was your visit? [max 1]"
		press     = "speak Please press a key. [max 1]"
		goodbye   = "speak Goodbye."
		clinic    = "speak Example Clinic called."
		begin     = "1s dial_completed answered => begun: " + hello
	)
	tests := map[string][]string{
		"posted twice: the same action, no try spent": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.001s speak_completed => copy: " + press,
			"5.002s speak_completed => copy: " + press,
			"15s speak_completed => no_input: " + clinic,
		},
		"three silences, each well after the decision before": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"15s play_completed => no_input: " + press,
			"25s speak_completed => no_input: " + press,
			"35s speak_completed => no_input: " + goodbye,
		},
		"any number while the first is undecided": {
			begin,
			"5s speak_completed took 900ms => no_input: " + press,
			"5.1s speak_completed => copy: " + press,
			"5.2s speak_completed => copy: " + press,
			"5.3s speak_completed => copy: " + press,
			"5.4s speak_completed => copy: " + press,
			"5.5s speak_completed => copy: " + press,
			"5.9s speak_completed => copy: " + press,
			"6.154s speak_completed => no_input: " + clinic,
		},
		"while a copy is undecided": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.001s speak_completed took 2s => copy: " + press,
			"7.001s speak_completed => copy: " + press,
		},
		"the guard time ends": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.253s speak_completed => copy: " + press,
			"5.506001s speak_completed => no_input: " + clinic,
		},
		"a prompt that fails at once is not repeated for ever": {
			begin,
			"5s speak_completed failed => prompt_failed: " + clinic,
			"5.1s speak_completed failed => copy: " + clinic,
			"5.2s speak_completed failed => copy: " + clinic,
			"5.3s speak_completed failed => copy: " + clinic,
			"5.4s speak_completed failed => copy: " + clinic,
			"5.5s speak_completed failed => prompt_failed: hangup",
			"5.6s speak_completed failed => copy: hangup",
		},
		"failed audio, posted twice": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"5.1s play_completed failed => prompt_failed: " + ratingTxt,
			"5.102s play_completed failed => copy: " + ratingTxt,
			"15s speak_completed 2 => accepted: speak You said 2. Will you come again? 1 yes, 2 no. [max 1]",
		},
		"an undecided copy breaks the row of four": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.1s speak_completed => copy: " + press,
			"5.2s speak_completed => copy: " + press,
			"5.3s speak_completed => copy: " + press,
			"5.301s speak_completed => copy: " + press,
			"5.4s speak_completed => copy: " + press,
			"5.5s speak_completed => copy: " + press,
			"5.6s speak_completed => copy: " + press,
			"5.7s speak_completed => copy: " + press,
			"5.8s speak_completed => no_input: " + clinic,
		},
		"clocks that make everything undecided end in an event of its own": {
			begin,
			"5s speak_completed took 1h => no_input: " + press,
			"9s speak_completed took 1h => copy: " + press,
			"10s speak_completed took 1h => copy: " + press,
			"14s speak_completed took 1h => copy: " + press,
			"18s speak_completed took 1h => copy: " + press,
			"22s speak_completed took 1h => copy: " + press,
			"26s speak_completed took 1h => copy: " + press,
			"30s speak_completed took 1h => no_input: " + clinic,
		},
		"a worker's clock that is behind": {
			begin,
			"5s speak_completed took -400ms => no_input: " + press,
			"5.002s speak_completed took -400ms => copy: " + press,
			"15s speak_completed took -400ms => no_input: " + clinic,
		},
		"an event that was answered with a hold": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.001s told hold 2 => reported: {}",
			"5.002s speak_completed => hold_ended: " + press,
			"5.003s speak_completed => copy: " + press,
		},
		"the ends of two holds": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"6s told hold 2 => reported: {}",
			"8s speak_completed => hold_ended: " + rating,
			"8.1s told hold 4 => reported: {}",
			"8.2s speak_completed => hold_ended: " + rating,
			"15s play_completed 2 => accepted: speak You said 2. Will you come again? 1 yes, 2 no. [max 1]",
		},
		"a report that nothing was due": {
			begin,
			"5s recording_started => held: HOLD",
			"5.001s recording_started => copy: HOLD",
			"5.002s told nothing 3 => reported: {}",
			"5.003s recording_started => held: HOLD",
			"5.004s speak_completed 1 => routed: " + rating,
		},
		"a report about something else": {
			begin,
			"5s recording_started => held: HOLD",
			"5.001s speak_completed 1 => routed: " + rating,
			"5.002s told nothing 2 => reported: {}",
			"5.003s speak_completed 1 => copy: " + rating,
		},
		"a copy of what was held is held": {
			begin,
			"5s call_leg_completed => held: HOLD",
			"5.001s call_leg_completed => copy: HOLD",
			"9s speak_completed 1 => routed: " + rating,
		},
		"an event in between": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.001s recording_started => held: HOLD",
			"5.002s speak_completed => no_input: " + clinic,
		},
		"what happens once, in between": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"5.001s dial_completed answered => copy: " + hello,
			"5.002s speak_completed 1 => copy: " + rating,
			"5.003s call_completed => ended: {}",
			"5.004s call_completed => copy: {}",
			"5.005s speak_completed 1 => copy: " + rating,
		},
		"a stranger in between": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"5.001s dial_completed busy => held: HOLD",
			"5.002s speak_completed 1 => hold_ended: " + rating,
		},
		"the last answer, twice after the end": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"9s play_completed 2 => accepted: speak You said 2. Will you come again? 1 yes, 2 no. [max 1]",
			"12s call_completed => ended: {}",
			"13s speak_completed 1 => late: {}",
			"13.1s speak_completed 1 => copy: {}",
		},
		"hung up twice": {
			begin,
			"5s speak_completed => no_input: " + press,
			"9s speak_completed => no_input: " + clinic,
			"14s speak_completed => said: hangup",
			"14.001s speak_completed => copy: hangup",
		},
		"before the call began": {
			"1s speak_completed => held: HOLD",
			"1.001s speak_completed => copy: HOLD",
			"1.002s dial_completed answered => begun: " + hello,
			"1.003s speak_completed => no_input: " + press,
		},
		"an answer that may not have arrived is given again, once a report": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.1s told unknown 2 => reported: {}",
			"12s speak_completed => copy: " + press,
			"20s speak_completed => no_input: " + clinic,
		},
		"four answers in a row that may not have arrived": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.1s told unknown 2 => reported: {}",
			"8s speak_completed => copy: " + press,
			"8.1s told unknown 4 => reported: {}",
			"11s speak_completed => copy: " + press,
			"11.1s told unknown 6 => reported: {}",
			"14s speak_completed => copy: " + press,
			"14.1s told unknown 8 => reported: {}",
			"17s speak_completed => copy: " + press,
			"17.1s told unknown 10 => reported: {}",
			"20s speak_completed => no_input: " + clinic,
		},
		"not known whether heard, and it was": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"5.1s told unknown 2 => reported: {}",
			"12s play_completed 2 => accepted: speak You said 2. Will you come again? 1 yes, 2 no. [max 1]",
			"20s speak_completed 1 => accepted: speak Thank you. Goodbye.",
		},
		"not known whether heard, and something else comes": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"5.1s told unknown 2 => reported: {}",
			"12s speak_completed => held: HOLD",
			"12.1s told hold 4 => reported: {}",
			"14s speak_completed => hold_ended: " + rating,
		},
		"not known whether the hangup was heard": {
			begin,
			"5s speak_completed => no_input: " + press,
			"9s speak_completed => no_input: " + clinic,
			"14s speak_completed => said: hangup",
			"14.1s told unknown 4 => reported: {}",
			"20s speak_completed => copy: hangup",
			"30s play_completed => over: hangup",
		},
		"a report that nobody knows, after the copy": {
			begin,
			"5s speak_completed => no_input: " + press,
			"5.1s speak_completed => copy: " + press,
			"5.2s told unknown 2 => reported: {}",
			"12s speak_completed => no_input: " + clinic,
		},
		"a report that nobody knows, after the next event": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"9s play_completed => no_input: " + press,
			"9.1s told unknown 2 => reported: {}",
			"19s speak_completed => no_input: " + press,
			"29s speak_completed => no_input: " + goodbye,
		},
		"a hold, and then nobody knows about the decision that came late": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"5.1s told hold 2 => reported: {}",
			"5.2s told unknown 2 => reported: {}",
			"8s speak_completed 1 => hold_ended: " + rating,
			"15s play_completed => no_input: " + press,
		},
		"nobody knows, and then a hold was said": {
			begin,
			"5s speak_completed 1 => routed: " + rating,
			"5.1s told unknown 2 => reported: {}",
			"5.2s told hold 2 => reported: {}",
			"8s speak_completed 1 => hold_ended: " + rating,
		},
		"nobody knows what came of the start": {
			begin,
			"1.1s told unknown 1 => reported: {}",
			"3s dial_completed answered => copy: " + hello,
			"9s speak_completed 1 => routed: " + rating,
		},
	}
	for name, script := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t, compile(t, survey))
			l.play(script)
			l.folds()
		})
	}
}

// folds checks that the state is what folding the log comes to.
func (l *line) folds() {
	l.t.Helper()
	folded, err := l.machine.Fold(l.facts, l.log).Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	state, err := l.state.Encode()
	if err != nil {
		l.t.Fatal(err)
	}
	if !bytes.Equal(folded, state) {
		l.t.Fatalf("the log does not fold to the state\n log: %s\nstate: %s", folded, state)
	}
}

// What two events must have in common to be copies, and what ends that.
func TestWhatMakesACopy(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(l *line, first, second *call.Entry)
		want    call.DecisionKind
	}{
		"equal bytes":                   {func(*line, *call.Entry, *call.Entry) {}, call.Copy},
		"other bytes":                   {func(_ *line, _, second *call.Entry) { second.Sum++ }, call.NoInput},
		"no sum: entries of an old log": {func(_ *line, first, second *call.Entry) { first.Sum, second.Sum = 0, 0 }, call.NoInput},
		"another event of the same sum": {func(_ *line, _, second *call.Entry) { second.Name = "play_completed" }, call.HoldEnded},
		"no guard time":                 {func(l *line, _, _ *call.Entry) { l.machine.Limits.Guard = 0 }, call.NoInput},
		"no guard time, yet undecided":  {func(l *line, first, _ *call.Entry) { l.machine.Limits.Guard, first.Took = 0, 200_000 }, call.Copy},
		"the first one was parked":      {func(_ *line, first, _ *call.Entry) { *first = parked(*first) }, call.NoInput},
		"the second one was parked":     {func(_ *line, _, second *call.Entry) { *second = parked(*second) }, call.ParkedKind},
		"one came from a spool":         {func(_ *line, _, second *call.Entry) { second.Late, second.Seq = true, 0 }, call.Copy},
		"the second's clock is behind":  {func(_ *line, _, second *call.Entry) { second.Key -= 3_000_000 }, call.Copy},
		"the second's clock is ahead":   {func(_ *line, _, second *call.Entry) { second.Key += 3_000_000 }, call.NoInput},
		"arrived at the same instant":   {func(_ *line, first, second *call.Entry) { second.Key = first.Key }, call.Copy},
		"decided in no time, fake clock": {func(l *line, first, second *call.Entry) {
			l.machine.Limits.Guard, first.Took, second.Key = 0, 1, first.Key+1
		}, call.Copy},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLine(t, compile(t, survey))
			l.step(l.event("dial_completed answered"))
			first, second := l.event("speak_completed"), l.event("speak_completed")
			second.Key = first.Key + 100_000
			tt.prepare(l, &first, &second)
			l.step(first)
			if got := l.step(second).Decision.Kind; got != tt.want {
				t.Errorf("got %s, want %s", got, tt.want)
			}
			l.folds()
		})
	}
}

func parked(e call.Entry) call.Entry {
	return call.ParkedEntry(e.ID, time.UnixMicro(e.Key), e.Seq, e.Late, string(e.Name))
}

// An event that nobody could read came in between: what follows may be anything.
func TestAParkedEventInBetween(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	first, bad, second := l.event("speak_completed"), parked(l.event("speak_completed")), l.event("speak_completed")
	bad.Key, second.Key = first.Key+1000, first.Key+2000
	l.step(first)
	l.step(bad)
	if got := l.step(second).Decision.Kind; got != call.NoInput {
		t.Errorf("got %s, want an event of its own", got)
	}
}

func TestTimelineOfCopies(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.play([]string{
		"1s dial_completed answered => begun: speak Hello Ann, press 1 to begin. [max 1]",
		"5s speak_completed took 100ms => no_input: speak Please press a key. [max 1]",
		"5.1s speak_completed => copy: speak Please press a key. [max 1]",
		"5.2s speak_completed => copy: speak Please press a key. [max 1]",
		"5.3s told unknown 4 => reported: {}",
		"7s speak_completed => copy: speak Please press a key. [max 1]",
		"7.1s told apology 6 => reported: {}",
		"9s speak_completed => over: hangup",
	})
	r, err := l.machine.Record(l.state, l.log, 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, m := range r.Timeline[2:7] {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s: %s, %s %s", m.Event, m.Status, m.Decision, m.Reason, m.Action)))
	}
	press := string(r.Timeline[1].Action)
	want := []string{
		"speak_completed : copy, came before the first was decided " + press,
		"speak_completed : copy, came within the guard time " + press,
		"told unknown: reported,",
		"speak_completed : copy, the first answer may not have arrived " + press,
		"told apology: reported,",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if r.Holds != 0 || r.Prompts != 2 {
		t.Errorf("got %d holds and %d prompts, want none and 2: neither what is not known nor copies count", r.Holds, r.Prompts)
	}
}
