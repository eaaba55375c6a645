// Package telesign is the wire contract of TeleSign's Voice API v2: the events it
// posts, the actions it takes as answers and over POST /v2/voice, which action may
// answer which event, and how both sides sign.
//
// It is liberal in what it reads and conservative in what it writes. Where
// TeleSign documents something the comments say nothing more; "seen" marks what
// only TeleSign's published samples show, "inferred" what neither shows.
//
// It imports messages and the standard library. Nothing here does I/O, reads a
// clock or keeps state; the client of POST /v2/voice is worker/dial.
package telesign
