// Package store is the Redis adapter: the state of calls, the intents to dial, and
// the flows, each changed in one atomic step.
//
// What belongs here: keys (all of them in keys.go), Lua scripts (lua/*.lua), the
// settings of the client, the check that a server can keep our promises, and the
// embedded store of dev and demo. What does not: NATS, TeleSign's wire contract,
// and every decision about a call. A call's state is opaque bytes here, so a store
// older than the worker that wrote a state does no harm to it.
//
// Redis holds only what is live: every key expires. Its clock, not the caller's,
// is the one that due times are measured by.
//
// Whatever keeps Redis from doing its work is an error that wraps ErrUnavailable
// and has messages.CodeUnavailable; such an error leaves open whether a write was
// done. Every write is therefore safe to repeat: a commit that was done answers
// ErrConflict the second time, a try that was begun answers "not begun".
package store
