package call

import (
	"hash/crc32"
	"time"
)

// TeleSign's events have no id of their own, so that equal bytes may be one event
// posted twice or two events: a person who presses nothing twice, the ends of two
// holds. Equal bytes are a copy of the call's newest event when
//
//   - they came before it, or a copy of it, was decided: nobody can have reacted to
//     an answer that was not there yet. Any number of them;
//   - or its answer may not have arrived (messages.ToldUnknown);
//   - or they came within Limits.Guard of the decision.
//
// The last two hold for maxCopies in a row: a prompt that fails at once gives the
// same bytes at once, and must not be repeated for ever. And equal bytes are an
// event of their own as soon as ingress has reported that it answered the first by
// itself, since what ended then is what ingress said. What happens once in a call
// is a copy whatever its bytes, and never gets here.
const (
	maxCopies = 4

	// copyRun is for how long after the first arrival undecided copies are not
	// counted. It only matters when the clocks of ingress and worker disagree so
	// much that everything seems to come before it was decided.
	copyRun = maxSkew
)

// Why an event is a copy, as timelines show it.
const (
	copyUndecided = "came before the first was decided"
	copyUnknown   = "the first answer may not have arrived"
	copyGuard     = "came within the guard time"
)

// printOf is what copies of e are known by, 0 if by nothing.
func printOf(e Entry) uint32 {
	if e.Sum == 0 {
		return 0
	}
	// crc32.Update, which would have the name copied to the heap for each event.
	sum := ^e.Sum
	for i := range len(e.Name) {
		sum = crc32.IEEETable[(sum^uint32(e.Name[i]))&0xff] ^ sum>>8
	}
	return ^sum
}

// remember makes e the event that copies are compared with.
func (s *State) remember(e Entry) {
	s.forget()
	if s.Print = printOf(e); s.Print != 0 {
		s.FirstAt, s.DecidedIn = e.Key, max(e.Took, 0)
	}
}

// forget makes whatever comes next an event of its own.
func (s *State) forget() {
	s.Print, s.FirstAt, s.DecidedIn, s.Copies, s.Unsure, s.Mute = 0, 0, 0, 0, false, false
}

// copied moves s past e if it is a copy of the newest event, and says what to
// answer: the same again. No try is spent and no prompt counted.
func (m Machine) copied(s *State, e Entry) (d Decision, ok bool) {
	if s.Print == 0 || printOf(e) != s.Print {
		return d, false
	}
	since := time.Duration(e.Key-s.FirstAt) * time.Microsecond
	decided := time.Duration(s.DecidedIn) * time.Microsecond
	var why string
	copies := s.Copies + 1
	switch {
	case since <= decided && since <= copyRun:
		why, copies = copyUndecided, 0
	case since <= decided:
		why = copyUndecided
	case s.Unsure:
		why = copyUnknown
	case since-decided <= m.Limits.Guard:
		why = copyGuard
	default:
		return d, false
	}
	if copies > maxCopies {
		return d, false
	}
	s.Copies, s.Unsure = copies, false // this answer is a new one, of which nothing bad is known
	s.DecidedIn = max(s.DecidedIn, e.Key+max(e.Took, 0)-s.FirstAt)
	d = m.again(*s)
	if s.Ended() { // what was answered before the end stands
		if s.Acted = !s.Mute && !s.Held; s.Acted {
			d.Action = m.outstanding(s)
		}
	}
	if !d.Hold {
		d.Reason = why
	}
	return d, true
}

// again is the decision about the newest event once more, for a copy or a
// redelivery of it. It is rendered from the state alone: nothing has changed since.
func (m Machine) again(s State) Decision {
	switch {
	case s.Ended() && !s.Acted:
		return Decision{Kind: Copy, Step: s.Step}
	case s.Held || !s.Acted:
		return Decision{Kind: Copy, Step: s.Step, Hold: true, Reason: "held before"}
	}
	return Decision{Kind: Copy, Step: s.Step, Action: m.outstanding(&s)}
}
