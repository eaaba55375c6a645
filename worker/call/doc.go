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
package call
