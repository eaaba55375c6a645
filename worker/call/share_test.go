package call_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/call"
)

// A call whose state and log are kept in memory, as Step made them, goes on as one
// that is stored and read between any two events; and what was kept stays as it was,
// however many steps are taken from it, even at the same time.
func TestStepChangesNothingItIsGiven(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 25 {
		chance := rand.New(rand.NewPCG(seed, uint64(i)))
		l, arrivals := lived(t, chance)
		if chance.IntN(2) == 0 {
			chance.Shuffle(len(arrivals), func(a, b int) { arrivals[a], arrivals[b] = arrivals[b], arrivals[a] })
		}
		type kept struct {
			state  call.State
			log    []call.Entry
			stored string
		}
		keep := func(s call.State, log []call.Entry) kept { return kept{s, log, storedForm(t, s, log)} }
		again := newLine(t, l.machine.Program)
		again.state.Facts = again.facts
		now := keep(again.state, nil)
		past := []kept{now}
		for at, e := range arrivals {
			again.step(e)

			// Others step the same state: what else might have come next.
			branches := make([]call.Outcome, 4)
			var group sync.WaitGroup
			for n := range branches {
				group.Go(func() { branches[n] = branch(l.machine, now.state, now.log, arrivals[(at+n)%len(arrivals)], n) })
			}
			group.Wait()
			stored, log := reread(t, now.state, now.log)
			fromStored := make([]call.Outcome, len(branches))
			for n := range fromStored {
				fromStored[n] = branch(l.machine, stored, log, arrivals[(at+n)%len(arrivals)], n)
			}
			for n, got := range branches {
				if diff := gocmp.Diff(outcome(t, l.machine, log, fromStored[n]), outcome(t, l.machine, now.log, got)); diff != "" {
					t.Fatalf("seed %d, call %d, event %d: branch %d differs from that of what was stored (-stored +kept):\n%s", seed, i, at, n, diff)
				}
			}

			out := l.machine.Step(now.state, now.log, e, time.UnixMicro(e.Key+e.Took))
			now = keep(out.State, logAfter(now.log, out))
			past = append(past, now)
			if diff := gocmp.Diff(storedForm(t, again.state, again.log), now.stored); diff != "" {
				t.Fatalf("seed %d, call %d, event %d: a call that is kept went another way (-stored +kept):\n%s", seed, i, at, diff)
			}
		}
		for at, p := range past {
			if got := storedForm(t, p.state, p.log); got != p.stored {
				t.Fatalf("seed %d, call %d: what was kept after event %d was written to later:\n%s", seed, i, at, gocmp.Diff(p.stored, got))
			}
		}
	}
}

// branch is what comes of e, or of something else instead of it.
func branch(m call.Machine, s call.State, log []call.Entry, e call.Entry, n int) call.Outcome {
	switch n {
	case 1:
		e.Digits = "3"
	case 2:
		e = call.ToldEntry("T", time.UnixMicro(e.Key), e.Seq, false, messages.Told{EventID: e.ID, Answer: messages.ToldHold})
	}
	e.ID += "'"
	return m.Step(s, log, e, time.UnixMicro(e.Key+7))
}

// outcome is what would be stored and published of a step from log.
func outcome(t *testing.T, m call.Machine, log []call.Entry, out call.Outcome) string {
	t.Helper()
	whole := logAfter(log, out)
	r, err := m.Record(out.State, whole, 1)
	if err != nil {
		t.Fatal(err)
	}
	return storedForm(t, out.State, whole) + marshal(t, r)
}

// logAfter is the log that a step from log leaves.
func logAfter(log []call.Entry, out call.Outcome) []call.Entry {
	if out.Rewrite {
		return out.Entries
	}
	return slices.Concat(log, out.Entries)
}

func storedForm(t *testing.T, s call.State, log []call.Entry) string {
	t.Helper()
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := call.EncodeLog(log)
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range raw {
		data = append(append(data, '\n'), b...)
	}
	return string(data)
}

// reread is a state and a log, stored and read.
func reread(t *testing.T, s call.State, log []call.Entry) (call.State, []call.Entry) {
	t.Helper()
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	stored, err := call.ParseState(s.CallID, data)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := call.EncodeLog(log)
	if err != nil {
		t.Fatal(err)
	}
	if log, err = call.ParseLog(raw); err != nil {
		t.Fatal(err)
	}
	return stored, log
}

// The same, for a call of which nothing but reports is there.
func TestReportsAloneAreKeptAsTheyAreStored(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	kept := l.state
	for range 3 {
		told, log := l.told(call.Entry{ID: "E1"}, messages.ToldHold), l.log
		l.step(told)
		kept = l.machine.Step(kept, log, told, time.UnixMicro(told.Key+3000)).State
		if diff := gocmp.Diff(l.state, kept); diff != "" {
			t.Fatalf("-stored +kept:\n%s", diff)
		}
	}
}

// Two answers to one question, stepped from one state that was read.
func TestAnswersOfTwoStepsStayApart(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	for _, words := range []string{"dial_completed answered", "speak_completed 1", "play_completed 3"} {
		l.step(l.event(words))
	}
	states := make(map[string]call.State)
	for _, key := range []string{"1", "2"} {
		e := l.event("speak_completed " + key)
		states[key] = l.machine.Step(l.state, nil, e, time.UnixMicro(e.Key+3000)).State
	}
	for key, s := range states {
		if len(s.Answers) != 2 || s.Answers[1].Value != key {
			t.Errorf("pressed %s: got answers %+v", key, s.Answers)
		}
	}
}

// Moments with one answer share its bytes: it is encoded once.
func TestCopiesShareTheirAnswer(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	l.step(l.event("dial_completed answered"))
	r, err := l.machine.Record(l.state, l.log, 1)
	if err != nil {
		t.Fatal(err)
	}
	if one, two := r.Timeline[0].Action, r.Timeline[1].Action; len(one) == 0 || &one[0] != &two[0] {
		t.Errorf("got %s and %s in two places", one, two)
	}
}
