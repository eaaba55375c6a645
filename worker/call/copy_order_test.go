package call_test

import (
	"cmp"
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

// 100 posts of one event at several ingresses, stepped by several workers in any
// order: one of them is stepped, and all get its action.
func TestHundredCopiesAtOnce(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for round := range 4 {
		chance := rand.New(rand.NewPCG(seed, uint64(round)))
		l := newLine(t, compile(t, survey))
		l.step(l.event("dial_completed answered"))
		l.step(l.event("speak_completed 1"))
		waiting := []call.Entry{l.event("play_completed 7")} // a wrong key: a try
		for range 99 {
			e := waiting[len(waiting)-1]
			l.next++
			e.ID, e.Seq, e.Live = fmt.Sprintf("E%d", l.next), uint64(l.next), true
			e.Key += chance.Int64N(500)
			waiting = append(waiting, e)
		}
		for i := range waiting {
			waiting[i].Took = 1000 + chance.Int64N(100_000)
		}
		slices.SortFunc(waiting, func(a, b call.Entry) int { return cmp.Compare(a.Key+a.Took, b.Key+b.Took) })
		bodies, kinds := map[string]int{}, map[call.DecisionKind]int{}
		for _, e := range waiting {
			out := l.step(e)
			body, err := out.Decision.Body()
			if err != nil {
				t.Fatal(err)
			}
			bodies[string(body)]++
			kinds[out.Decision.Kind]++
		}
		if len(bodies) != 1 || kinds[call.Copy]+kinds[call.Invalid] != 100 {
			t.Fatalf("seed %d, round %d: got %v, %v; want one action for 100 copies", seed, round, bodies, kinds)
		}
		if slices.ContainsFunc(l.log, func(e call.Entry) bool { return e.Otherwise }) {
			t.Fatalf("seed %d, round %d: a copy is marked as answered otherwise", seed, round)
		}
		l.folds()
		// The question has three tries: one more is left after this one.
		l.next += 10
		for _, want := range []string{"no_input: speak Please press a key. [max 1]", "no_input: speak Goodbye."} {
			if got := show(l.step(l.event("speak_completed")).Decision); got != want {
				t.Fatalf("seed %d, round %d: after the copies got %s, want %s", seed, round, got, want)
			}
		}
	}
}

// An older copy that was under way for very long is put in its place: the event
// that was stepped since, and heard, does not become a copy without a trace.
func TestACopyThatComesLateDoesNotUnsayWhatWasHeard(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	live := func(words string) call.Entry {
		e := l.event(words)
		e.Live = true
		return e
	}
	l.step(live("dial_completed answered"))
	stuck, first, silent := live("speak_completed"), live("speak_completed"), live("speak_completed")
	first.Key = stuck.Key + 1000
	stuck.Took = 30_000_000
	for i, want := range []string{"no_input: speak Please press a key. [max 1]", "no_input: speak Example Clinic called."} {
		if got := show(l.step([]call.Entry{first, silent}[i]).Decision); got != want {
			t.Fatalf("got %s, want %s", got, want)
		}
	}
	if out := l.step(stuck); show(out.Decision) != "no_input: speak Please press a key. [max 1]" || !out.Rewrite {
		t.Fatalf("the first copy got %s, rewritten %v; want the same action as the others, in its place", show(out.Decision), out.Rewrite)
	}
	l.folds()
	// Clinic is being said; by the log, press is due.
	if got, want := show(l.step(live("speak_completed 1")).Decision), "hold_ended: speak Please press a key. [max 1]"; got != want {
		t.Errorf("the end of what was heard got %s, want %s", got, want)
	}
}

// A copy that makes copies of later events changes the record: it is published.
func TestALateCopyIsPublishedWhenTheCallHasEnded(t *testing.T) {
	t.Parallel()
	l := newLine(t, compile(t, survey))
	l.step(l.event("dial_completed answered"))
	first, late, next := l.event("speak_completed"), l.event("speak_completed"), l.event("speak_completed")
	late.Key, late.Took = first.Key+1000, 20_000_000
	l.step(first)
	l.step(next)
	l.step(l.event("call_completed"))
	if got, want := l.summary(), "no_response//voicemail/person"; got != want {
		t.Fatalf("before the copy: got %s, want %s", got, want)
	}
	if out := l.step(late); out.Decision.Kind != call.Copy || !out.Publish {
		t.Errorf("got %s, published %v; want a copy that is", out.Decision.Kind, out.Publish)
	}
	if got, want := l.summary(), "hung_up//hello/person"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if out := l.step(l.event("call_completed")); out.Publish {
		t.Error("a copy at the end changes nothing; it was published")
	}
}

// States that are stored have the sum that crc32.Update makes.
func TestPrintsStayAsTheyAre(t *testing.T) {
	t.Parallel()
	for i, name := range []telesign.EventName{"", "dial_completed", "speak_completed", "é"} {
		e := call.Entry{Name: name, Sum: 0xDEADBEEF >> i}
		if got, want := call.PrintOf(e), crc32.Update(e.Sum, crc32.IEEETable, []byte(name)); got != want {
			t.Errorf("%q: got %x, want %x", name, got, want)
		}
	}
}
