package spool

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/offhook/offhook/messages"
)

const (
	magic        = "offhook\x01" // its last byte is the version of the format
	headerBytes  = 8 + 8 + 4     // magic, salt, checksum
	recordHeader = 4 + 4 + 4     // marker, length, checksum
	// maxPayload bounds an envelope: NATS refuses messages above 1 MiB as well. A
	// reader takes a longer length for damage.
	maxPayload = 1 << 20
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// salt makes the records of one segment unlike any other bytes.
type salt [8]byte

func newSalt() salt {
	var s salt
	_, _ = rand.Read(s[:]) // never fails; it would end the process
	s[0] |= 1              // a marker of zeros would be found in every hole of a file
	return s
}

// marker begins every record of the segment.
func (s salt) marker() []byte { return s[:4:4] }

// header is the beginning of a segment.
func (s salt) header() []byte {
	b := append(make([]byte, 0, headerBytes), magic...)
	b = append(b, s[:]...)
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// saltOf reads a segment's header; false means that it is damaged or not ours.
func saltOf(header []byte) (s salt, ok bool) {
	if len(header) != headerBytes || string(header[:len(magic)]) != magic {
		return s, false
	}
	n := headerBytes - 4
	copy(s[:], header[len(magic):n])
	return s, binary.LittleEndian.Uint32(header[n:]) == crc32.Checksum(header[:n], castagnoli)
}

// checksum is that of a record at an offset of its segment; sized is its length
// field and payload is what follows the header.
func (s salt) checksum(at int64, length, payload []byte) uint32 {
	var seed [16]byte
	copy(seed[:], s[:])
	binary.LittleEndian.PutUint64(seed[8:], uint64(at)) //nolint:gosec // an offset is never negative
	sum := crc32.Update(0, castagnoli, seed[:])
	sum = crc32.Update(sum, castagnoli, length)
	return crc32.Update(sum, castagnoli, payload)
}

// seal completes records that lie one after the other in b, the first of which will
// stand at an offset of the segment.
func (s salt) seal(b []byte, at int64) {
	for len(b) > 0 {
		end := recordHeader + int(binary.LittleEndian.Uint32(b[4:]))
		copy(b, s.marker())
		binary.LittleEndian.PutUint32(b[8:], s.checksum(at, b[4:8], b[recordHeader:end]))
		b, at = b[end:], at+int64(end)
	}
}

// appendRecord appends env to b as a record that has yet to be sealed.
func appendRecord(b []byte, env messages.Envelope) ([]byte, error) {
	start := len(b)
	header := env.Header()
	if _, err := messages.ParseEnvelope(header, nil); err != nil {
		return b, messages.Errorf(messages.CodeInvalid, "spool: it could not be read back: %w", err)
	}
	b = append(b, make([]byte, recordHeader)...)
	b = binary.AppendUvarint(b, uint64(len(header)))
	for _, name := range slices.Sorted(maps.Keys(header)) {
		b = appendString(b, name)
		b = appendString(b, header[name][0]) // an envelope has no header without a value or with two
	}
	b = append(b, env.Body...)
	n := len(b) - start - recordHeader
	if n > maxPayload {
		return b[:start], messages.Errorf(messages.CodeTooLarge, "spool: event %s takes %d bytes, more than %d", env.EventID, n, maxPayload)
	}
	binary.LittleEndian.PutUint32(b[start+4:], uint32(n)) //nolint:gosec // at most maxPayload
	return b, nil
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errPayload = errors.New("its headers are cut off")

// decode reads an envelope back from a record's payload, of which it keeps nothing.
func decode(payload []byte) (messages.Envelope, error) {
	n, rest, ok := cutUvarint(payload)
	if !ok || n > uint64(len(rest)) { // a header takes two bytes at the least
		return messages.Envelope{}, errPayload
	}
	header := make(map[string][]string, min(n, 16))
	for range n {
		var name, value string
		if name, rest, ok = cutString(rest); !ok {
			return messages.Envelope{}, errPayload
		}
		if value, rest, ok = cutString(rest); !ok {
			return messages.Envelope{}, errPayload
		}
		header[name] = append(header[name], value)
	}
	return messages.ParseEnvelope(header, slices.Clone(rest))
}

func cutUvarint(b []byte) (n uint64, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 {
		return 0, b, false
	}
	return n, b[size:], true
}

func cutString(b []byte) (s string, rest []byte, ok bool) {
	n, rest, ok := cutUvarint(b)
	if !ok || n > uint64(len(rest)) {
		return "", b, false
	}
	return string(rest[:n]), rest[n:], true
}
