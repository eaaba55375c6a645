// Package messages holds what crosses a process boundary: the envelope of a
// webhook event, the reply to it, dial jobs and intents, call records, failures,
// the read models of the API, and the name of every subject, stream and header
// they travel under.
//
// It imports the standard library only. Nothing here does I/O, knows a client of
// NATS or Redis, or decides anything; TeleSign's own words live in
// messages/telesign, the NATS adapter in messages/bus.
package messages
