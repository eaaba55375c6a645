package call_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

// lived is one call as it may happen: a person who does anything, an ingress that
// sometimes holds or apologises, answers that may not arrive, events that are
// posted or come twice, or after the end. It returns the line that stepped them in
// order and the arrivals, each with the time that its first step took.
func lived(t *testing.T, chance *rand.Rand) (*line, []call.Entry) {
	l := newLine(t, compile(t, survey))
	var arrivals []call.Entry
	var last telesign.Method
	one := func(e call.Entry) {
		e.Live = true
		e.Took = 1 + chance.Int64N([]int64{5_000, 50_000, 3_000_000}[chance.IntN(3)])
		arrivals = append(arrivals, e)
		d := l.step(e).Decision
		if d.Action != nil && e.Told == nil {
			last = d.Action.Method()
		}
	}
	soon := func(e call.Entry) { // after the arrival before it
		e.Key = arrivals[len(arrivals)-1].Key + chance.Int64N([]int64{10_000, 800_000}[chance.IntN(2)])
		one(e)
	}
	post := func(e call.Entry) { // the same event once more
		l.next++
		e.ID, e.Seq = fmt.Sprintf("E%d", l.next), uint64(l.next)
		soon(e)
	}
	step := func(e call.Entry) {
		one(e)
		if e.Told == nil && chance.IntN(6) == 0 {
			for range 1 + chance.IntN(7) {
				post(e)
			}
		}
		if chance.IntN(8) == 0 {
			soon(l.told(arrivals[len(arrivals)-1-chance.IntN(min(2, len(arrivals)))], messages.ToldUnknown))
			for range chance.IntN(3) {
				post(e)
			}
		}
		if chance.IntN(40) == 0 {
			soon(l.told(e, messages.ToldApology))
			last = telesign.MethodSpeak
		}
		if e.Told == nil && chance.IntN(12) == 0 {
			if chance.IntN(3) == 0 { // an event between an event and its report
				one(l.event("something_unforeseen"))
			}
			soon(l.told(e, messages.ToldHold))
			last = telesign.MethodSpeak
		}
	}
	step(l.event([]string{"dial_completed answered", "dial_completed answered", "dial_completed answered", "dial_completed busy"}[chance.IntN(4)]))
	for range chance.IntN(14) {
		if last == telesign.MethodHangup {
			break
		}
		switch chance.IntN(12) {
		case 0:
			step(l.event("dial_completed answered"))
		case 1:
			step(l.event("something_unforeseen"))
		default:
			name := string(last) + "_completed"
			step(l.event(name + " " + []string{"1", "2", "3", "5", "7", "*", "9", "", "", "failed", "01"}[chance.IntN(11)]))
		}
	}
	step(l.event("call_completed"))
	if chance.IntN(3) == 0 {
		step(l.event(string(last) + "_completed 1"))
	}
	if chance.IntN(3) == 0 {
		step(l.event("call_completed"))
	}
	return l, arrivals
}

// I6: any processing order and redelivery of the same arrivals gives the same
// outcome, answers and disposition; here, the same record, byte for byte.
// I3: an arrival is stepped once, and each redelivery of it gets one action.
func TestAnyOrderAndMultiplicity(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	kinds := make(map[string]int)
	for i := range 300 {
		chance := rand.New(rand.NewPCG(seed, uint64(i)))
		inOrder, arrivals := lived(t, chance)
		inOrder.folds()
		want := finalRecord(t, inOrder)

		shuffled := append([]call.Entry(nil), arrivals...)
		for range chance.IntN(6) {
			shuffled = append(shuffled, arrivals[chance.IntN(len(arrivals))])
		}
		chance.Shuffle(len(shuffled), func(a, b int) { shuffled[a], shuffled[b] = shuffled[b], shuffled[a] })
		if chance.IntN(2) == 0 {
			skew(arrivals, shuffled, inOrder)
			want = finalRecord(t, inOrder)
		}
		other := newLine(t, inOrder.machine.Program)
		for _, e := range shuffled {
			// Their answers have been given, in order: nobody waits for these.
			e.Live = false
			other.step(e)
		}
		if len(other.log) != len(arrivals) {
			t.Fatalf("call %d: %d arrivals, %d in the log", i, len(arrivals), len(other.log))
		}
		if diff := cmp.Diff(want, finalRecord(t, other)); diff != "" {
			t.Fatalf("seed %d, call %d: the order of processing changed the record:\n%s\narrivals %s", seed, i, diff, words(arrivals))
		}
		other.folds()
		r, err := other.machine.Record(other.state, other.log, 1)
		if err != nil {
			t.Fatal(err)
		}
		for at, e := range other.log {
			again := other.step(e)
			body, err := again.Decision.Body()
			if err != nil {
				t.Fatal(err)
			}
			kinds[r.Timeline[at].Decision+" "+r.Timeline[at].Reason]++
			if e.Told != nil {
				kinds["told "+string(e.Told.Answer)]++
				continue
			}
			if first := r.Timeline[at].Action; !again.Known || again.Decision.Hold != (first == nil) || first != nil && !bytes.Equal(first, body) {
				t.Fatalf("seed %d, call %d: %s got %s, its redelivery %s (known %v)", seed, i, e.ID, first, body, again.Known)
			}
		}
	}
	for _, kind := range []string{"copy came before the first was decided", "copy came within the guard time", "copy the first answer may not have arrived", "told unknown", "told apology", "told hold"} {
		if kinds[kind] == 0 {
			t.Errorf("no call had %q: this test proves nothing about it; what they had: %v", kind, kinds)
		}
	}
}

// I3: what is a copy of an event gets the same action as it.
func TestCopiesGetTheActionOfTheirEvent(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 150 {
		l, arrivals := lived(t, rand.New(rand.NewPCG(seed, uint64(i))))
		r, err := l.machine.Record(l.state, l.log, 1)
		if err != nil {
			t.Fatal(err)
		}
		ended, first := false, messages.Moment{}
		for at, m := range r.Timeline {
			name := telesign.EventName(m.Event)
			switch {
			case name == telesign.CallCompleted:
				ended = true
			case name == telesign.DialCompleted || l.log[at].Told != nil:
			case m.Decision != string(call.Copy):
				first = m
			case !ended && !bytes.Equal(m.Action, first.Action), m.Event != first.Event, m.Digits != first.Digits, m.Status != first.Status:
				t.Fatalf("seed %d, call %d: %s, a copy of %s, got %s, want %s\narrivals %s", seed, i, m.EventID, first.EventID, m.Action, first.Action, words(arrivals))
			}
		}
	}
}

// skew turns the clock of the ingress that took every other event back, in the
// arrivals and in the log of the line that lived them.
func skew(arrivals, shuffled []call.Entry, l *line) {
	for _, entries := range [][]call.Entry{arrivals, shuffled, l.log} {
		for i := range entries {
			if entries[i].Seq%2 == 0 {
				entries[i].Key -= (2500 * time.Millisecond).Microseconds()
			}
		}
	}
	l.state = l.machine.Fold(l.facts, l.log)
	l.state.CallID = "C1"
}

// finalRecord is a call's record as it is published.
func finalRecord(t *testing.T, l *line) string {
	t.Helper()
	r, err := l.machine.Record(l.state, l.log, 1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func words(arrivals []call.Entry) string {
	text := ""
	for _, e := range arrivals {
		text += fmt.Sprintf("\n  %s %s %s %q told %v", e.ID, e.Name, e.Status, e.Digits, e.Told)
	}
	return text
}

// Every answer to every event is one that TeleSign takes for it.
func TestAnswersAreAllowed(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 150 {
		l, arrivals := lived(t, rand.New(rand.NewPCG(seed, uint64(i))))
		again := newLine(t, l.machine.Program)
		for _, e := range arrivals {
			d := again.step(e).Decision
			if e.Told != nil || d.Action == nil {
				continue
			}
			if err := d.Action.Validate(); err != nil {
				t.Fatalf("seed %d, call %d: %s: %v", seed, i, e.Name, err)
			}
			if known := e.Name != "something_unforeseen"; known && !telesign.Strict.Allows(e.Name, d.Action.Method()) {
				t.Fatalf("seed %d, call %d: %s answers %s", seed, i, d.Action.Method(), e.Name)
			}
		}
	}
}

// What is left of a finished survey must fit the memory a live call may take.
func TestStateIsSmall(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	for _, words := range []string{"dial_completed answered", "speak_completed 1", "play_completed 3", "speak_completed 1", "speak_completed"} {
		l.step(l.event(words))
	}
	state, err := l.state.Encode()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := call.EncodeLog(l.log)
	if err != nil {
		t.Fatal(err)
	}
	size := len(state)
	for _, b := range raw {
		size += len(b)
	}
	t.Logf("state %d B, log %d B in %d entries", len(state), size-len(state), len(raw))
	if size > 900 {
		t.Errorf("state and log take %d B; with Redis' own cost a call must stay under 2 KB", size)
	}
}
