package call

import (
	"bytes"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// maxSkew is how far apart the clocks of two ingresses are believed to be. Within
// it the stream's order counts, which respects cause and effect; beyond it the
// arrival does, so that a call survives a stream that is made anew.
const maxSkew = 5 * time.Second

// after reports whether a stands after b in the order of arrivals. A spooled
// event's sequence says nothing about when it arrived.
func after(a, b Entry) bool {
	apart := a.Key - b.Key
	if a.Seq != 0 && b.Seq != 0 && !a.Late && !b.Late && max(apart, -apart) <= maxSkew.Microseconds() {
		return a.Seq > b.Seq
	}
	if apart != 0 {
		return apart > 0
	}
	return a.ID > b.ID
}

// place is where e belongs in log.
func place(log []Entry, e Entry) int {
	i := len(log)
	for i > 0 && after(log[i-1], e) {
		i--
	}
	return i
}

// refold is the state and the decisions of whole, which is log with one more entry
// at at. What callers were told meanwhile cannot be taken back: where an answer
// that reached its caller comes out otherwise now, the entry is marked, and the end
// of whatever the caller heard delivers what is due.
func (m Machine) refold(s State, log, whole []Entry, at int) (State, []Decision) {
	if at == len(log) { // nothing was answered after it
		return m.fold(s, whole)
	}
	_, answered := m.fold(s, log)
	for {
		folded, decisions := m.fold(s, whole)
		i := at + 1
		for i < len(whole) && (!whole[i].Live || whole[i].Otherwise || sameAnswer(answered[i-1], decisions[i])) {
			i++
		}
		if i >= len(whole) {
			return folded, decisions
		}
		whole[i].Otherwise = true
	}
}

// sameAnswer reports whether two decisions are answered alike.
func sameAnswer(a, b Decision) bool {
	if a.Hold || b.Hold {
		return a.Hold == b.Hold
	}
	if sameAction(a.Action, b.Action) {
		return true
	}
	one, errOne := a.Body()
	two, errTwo := b.Body()
	return errOne == nil && errTwo == nil && bytes.Equal(one, two)
}

// sameAction reports whether two actions are surely the same; not all that are.
func sameAction(a, b telesign.Action) bool {
	switch a := a.(type) {
	case nil:
		return b == nil
	case telesign.Speak:
		b, ok := b.(telesign.Speak)
		return ok && a == b
	case telesign.Play:
		b, ok := b.(telesign.Play)
		return ok && a == b
	}
	return false
}

// Fold is the state after a whole log, oldest first: what stepping its entries one
// by one, in whatever order, comes to.
func (m Machine) Fold(facts *Facts, log []Entry) State {
	s, _ := m.fold(State{Facts: facts}, log)
	return s
}

// fold applies a whole log from the start of s's call, and returns what was
// decided at each entry.
func (m Machine) fold(s State, log []Entry) (State, []Decision) {
	s = State{Schema: Schema, Facts: s.Facts, CallID: s.CallID}
	decisions := make([]Decision, len(log))
	var start int // the entry that began the call, counted from 1
	for i, e := range log {
		if s.startsAgain(e) {
			same := start > 0 && s.sameStart(log[start-1], e)
			decisions[i] = s.pass(e, same)
			if same {
				decisions[i].Action = decisions[start-1].Action
			}
		} else {
			if starts(e.Name) && !e.Parked {
				start = i + 1
			}
			decisions[i] = m.apply(&s, e, e.Told != nil && has(log[:i], e.Told.EventID))
		}
	}
	return s, decisions
}

// has reports whether an entry of log has this id. It looks from the end: a report
// is mostly about one of the newest.
func has(log []Entry, id string) bool {
	for i := len(log) - 1; i >= 0; i-- {
		if log[i].ID == id {
			return true
		}
	}
	return false
}
