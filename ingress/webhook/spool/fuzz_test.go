package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"testing"
)

// The reader cuts any bytes into pieces without a gap or an overlap, finds every record
// that it says is one where the format says it is, and ends.
func FuzzSegment(f *testing.F) {
	whole, ends := segmentBytes(f, testSalt, events(3)...)
	f.Add(whole)
	f.Add(whole[:ends[2]-5])
	f.Add(whole[:headerBytes])
	f.Add([]byte{})
	f.Add(append(whole[:ends[0]:ends[0]], whole[ends[1]:]...))
	f.Add(append(bytes.Clone(whole[:ends[1]]), bytes.Repeat(testSalt.marker(), 50)...))
	damaged := bytes.Clone(whole)
	damaged[ends[0]+5]++
	f.Add(damaged)
	f.Add(append(bytes.Clone(whole), unparsable(testSalt, int64(len(whole)), "\x02\x01a\x01b")...))
	f.Fuzz(func(t *testing.T, b []byte) {
		at := int64(0)
		if len(b) >= headerBytes {
			if _, ok := saltOf(b[:headerBytes]); ok {
				at = headerBytes
			}
		}
		salt := testSalt
		if at > 0 {
			salt, _ = saltOf(b[:headerBytes])
		}
		r := readSegment(bytes.NewReader(b), salt, at, int64(len(b)))
		for before := false; ; {
			p, err := r.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("memory cannot fail, but: %v", err)
			}
			if p.at != at || p.end <= p.at || p.end > int64(len(b)) {
				t.Fatalf("a piece from %d to %d follows one that ends at %d of %d", p.at, p.end, at, len(b))
			}
			at = p.end
			if p.damaged {
				if before {
					t.Fatalf("two damaged pieces meet at %d", p.at)
				}
				before = true
				continue
			}
			before = false
			if n := binary.LittleEndian.Uint32(b[p.at+4:]); int64(n) != p.end-p.at-recordHeader || !bytes.Equal(p.payload, b[p.at+recordHeader:p.end]) {
				t.Fatalf("the record at %d is not what stands there", p.at)
			}
			again := bytes.Clone(b[p.at:p.end])
			salt.seal(again, p.at)
			if !bytes.Equal(again, b[p.at:p.end]) {
				t.Fatalf("the record at %d would not have been written so", p.at)
			}
			if env, err := decode(p.payload); err == nil {
				if _, err := appendRecord(nil, env); err != nil {
					t.Fatalf("%+v was read and cannot be written: %v", env, err)
				}
			}
		}
		if at != int64(len(b)) {
			t.Fatalf("the pieces end at %d of %d", at, len(b))
		}
	})
}

// What a payload holds never makes decode fail in another way than with an error, and
// what it reads survives being written again.
func FuzzDecode(f *testing.F) {
	for _, env := range events(2) {
		b, err := appendRecord(nil, env)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b[recordHeader:])
	}
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Add([]byte("\x01\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		env, err := decode(payload)
		if err != nil {
			return
		}
		b, err := appendRecord(nil, env)
		if err != nil {
			return // longer in our spelling, or a call id that only another spelling can carry
		}
		again, err := decode(b[recordHeader:])
		if err != nil || again.EventID != env.EventID || again.CallID != env.CallID || !again.Arrived.Equal(env.Arrived) || !bytes.Equal(again.Body, env.Body) {
			t.Fatalf("%+v became %+v (%v)", env, again, err)
		}
	})
}
