// Package dial is the client of TeleSign's POST /v2/voice: it sends one dial and
// says what became of it. What it is about is telling a dial that was certainly
// not sent, and may be tried again, from one that may have rung, and may not.
//
// It posts once. It never retries, follows no redirect, reuses no connection and
// keeps no state: intents, pacing and retries are for those who call it. It
// imports messages, messages/telesign, OpenTelemetry's interfaces and the standard
// library.
package dial
