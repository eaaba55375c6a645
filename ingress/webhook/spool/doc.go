// Package spool keeps envelopes on the local disk while the events stream cannot take
// them: a bounded queue of files, durable before Append returns, drained in the order
// of Append. It knows neither NATS nor HTTP.
//
// # What it promises
//
// An envelope whose Append returned nil is on the disk and is handed to publish until
// publish has reported it stored, across kill -9 and power cuts. An envelope may be
// published more than once (after a crash from the beginning of its segment, at most
// Config.SegmentBytes); it keeps its event id, by which workers recognise it. One
// whose Append failed may be published as well: the disk may have taken it before it
// failed. Nothing is removed that was neither published nor set aside.
//
// # Going live again
//
// Empty is true once everything whose Append has returned is published. An answer that
// waits for its Append, and so the next event it causes, therefore finds the spool not
// empty until its predecessor is in the stream. Appends still under way do not count,
// otherwise steady traffic could keep a spool from ever being empty; AwaitEmpty is for
// those who would rather wait a moment than join the tail.
//
// # Files
//
// The directory belongs to one process, which holds a lock on the file "lock".
//
//	<20 digits>.spool       a segment; numbers only grow
//	<20 digits>.spool.torn  what could not be read of it; offhook never removes these
//
// A segment is magic (8 bytes), salt (8), CRC-32C of both (4), then records. A record
// is the salt's first 4 bytes as marker, the length of the payload (4, little endian),
// a CRC-32C (4) over salt, the record's offset, length and payload, then the payload:
// the number of headers, each header's name and value with their lengths (all
// uvarints), and the body. Files are 0600 in a directory 0700: bodies hold phone numbers.
//
// # Failures
//
// After a failed write or fsync the segment is never appended to again, since nobody
// knows what the disk made of it; the appends it was for fail, the next one begins a
// new segment. No segment of an earlier process is appended to either.
//
// What cannot be read (a tail torn by a crash, a damaged record, an envelope that does
// not parse) is copied to the segment's .torn file, logged and counted, and the rest is
// drained. Reading goes on at the next marker that begins a record with a valid
// checksum. That is safe: marker and checksum depend on a random salt that is never
// sent anywhere, so a body cannot carry a forged record, and on the offset, so a block
// that the disk put in the wrong place does not pass.
//
// A segment that cannot be read at all stays where it is, logged and counted, and is
// tried again by the next Open.
package spool
