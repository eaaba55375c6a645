// Package call is the state machine of one call: a pure function from a call's
// state and one arrival to the next state, a decision and the record.
//
// It does no I/O, reads no clock and starts nothing: the same arrivals give the
// same result on every machine, today and in a replay. What a caller hears is
// decided by a flow.Program; what may answer what is TeleSign's affair and lives
// in messages/telesign.
//
// # Order
//
// Arrivals are ordered by when ingress had them, not by when a worker got to them.
// An arrival that is newer than all before it is stepped on the stored state, at a
// cost that does not grow with the call. One that comes late is put in its place
// and the call is folded again from its start; the outcome, the answers and the
// disposition are therefore the same in whatever order, and however often, the
// arrivals are processed.
//
// # Copies
//
// One event may be posted twice, and two events may have equal bytes. copy.go has
// the rules that tell one from the other; a copy gets the same action and changes
// nothing. They compare when events came with when they were decided, both of which
// the log says, so that the same log has the same copies wherever it is folded.
//
// # Holds
//
// The state says what the caller was told. When ingress answered by itself (a
// hold), its report arrives here before the call's next event: the decision stays
// due, and the end of the hold is what delivers it. An event that does not fit what
// the caller was told is answered with a hold, never stepped as if it did. Where
// nobody knows whether an answer arrived, either is taken: the event again gets the
// answer again, the end of the prompt is stepped, and anything else is held.
//
// # Keeping a call in memory
//
// Step and Record change nothing that their arguments point to. A State may be
// copied, stepped by several at once, and kept between a call's events together
// with its log instead of being read again; what comes of it is the same. Copies
// share State.Facts with its Contact, State.Answers and State.End; entries share
// Entry.Told and Entry.End; an action shares the flow's CollectDigits. None of it is
// ever written once it is there: a step that changes one makes a new one. Whoever
// keeps or gets one must hold to that. Outcome.Entries never shares its array with
// the log that was given.
//
// The strings of a parsed state are parts of one copy of the stored bytes, which
// lives as long as any of them; those of State.Facts live as long as the call.
package call
