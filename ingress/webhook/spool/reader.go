package spool

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
)

// piece is a part of a segment: one record, or what lies between two records and
// cannot be read.
type piece struct {
	at, end int64
	payload []byte // of a record, valid until the next piece is read
	damaged bool
}

// reader cuts a segment into pieces that lie one after the other without a gap. It
// holds at most one record in memory.
type reader struct {
	salt    salt
	at, end int64
	buf     *bufio.Reader
}

// readSegment reads the pieces from at, the offset of a record, to end, whose bytes
// are src.
func readSegment(src io.ReaderAt, s salt, at, end int64) *reader {
	window := min(recordHeader+maxPayload, max(end-at, 16))
	return &reader{salt: s, at: at, end: end, buf: bufio.NewReaderSize(io.NewSectionReader(src, at, end-at), int(window))}
}

// next is the next piece; io.EOF means that there is none. Any other error is the
// disk's.
func (r *reader) next() (piece, error) {
	if r.at >= r.end {
		return piece{}, io.EOF
	}
	from := r.at
	record, err := r.try()
	if err != nil {
		return piece{}, err
	}
	if record != nil {
		r.skip(len(record))
		return piece{at: from, end: r.at, payload: record[recordHeader:]}, nil
	}
	for r.skip(1); ; r.skip(1) {
		if err := r.seek(); err != nil {
			return piece{}, err
		}
		if r.at >= r.end {
			return piece{at: from, end: r.end, damaged: true}, nil
		}
		if record, err := r.try(); err != nil {
			return piece{}, err
		} else if record != nil {
			return piece{at: from, end: r.at, damaged: true}, nil
		}
	}
}

// try is the record at r.at, or nil when none begins there.
func (r *reader) try() ([]byte, error) {
	head, err := r.peek(recordHeader)
	if head == nil || err != nil || !bytes.Equal(head[:4], r.salt.marker()) {
		return nil, err
	}
	n := int64(binary.LittleEndian.Uint32(head[4:]))
	if n > maxPayload {
		return nil, nil
	}
	record, err := r.peek(recordHeader + n)
	if record == nil || err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(record[8:]) != r.salt.checksum(r.at, record[4:8], record[recordHeader:]) {
		return nil, nil
	}
	return record, nil
}

// seek goes to the next marker, or to the end when there is none.
func (r *reader) seek() error {
	for {
		if _, err := r.buf.Peek(4); errors.Is(err, io.EOF) {
			r.at = r.end
			return nil
		} else if err != nil {
			return err
		}
		window, _ := r.buf.Peek(r.buf.Buffered()) // what is there anyway: never an error
		if i := bytes.Index(window, r.salt.marker()); i >= 0 {
			r.skip(i)
			return nil
		}
		r.skip(len(window) - 3) // a marker may have begun in them
	}
}

// peek is the next n bytes, or nil when the segment has fewer.
func (r *reader) peek(n int64) ([]byte, error) {
	if n > r.end-r.at {
		return nil, nil
	}
	b, err := r.buf.Peek(int(n))
	if errors.Is(err, io.EOF) { // the file has become shorter
		return nil, nil
	}
	return b, err
}

// skip passes n bytes, which have been peeked.
func (r *reader) skip(n int) {
	passed, _ := r.buf.Discard(n) // short only at the end of a file that has become shorter
	r.at += int64(passed)
	if passed < n {
		r.at = r.end
	}
}
