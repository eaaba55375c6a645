package spool

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/offhook/offhook/messages"
)

var testSalt = salt{1, 2, 3, 4, 5, 6, 7, 8}

// unparsable is a whole record that holds no envelope.
func unparsable(s salt, at int64, payload string) []byte {
	b := append(make([]byte, recordHeader), payload...)
	b[4] = byte(len(payload))
	s.seal(b, at)
	return b
}

// What cannot be read is set aside, byte for byte; everything else comes out in order.
func TestDamageIsSetAsideAndTheRestIsDrained(t *testing.T) {
	t.Parallel()
	whole, ends := segmentBytes(t, testSalt, events(4)...)
	all := ids(events(4))
	flip := func(at int) []byte {
		b := slices.Clone(whole)
		b[at] ^= 0x40
		return b
	}
	join := func(parts ...[]byte) []byte { return slices.Concat(parts...) }
	forged, _ := segmentBytes(t, salt{9, 9, 9, 9, 9, 9, 9, 9}, event("forged"))
	odd := unparsable(testSalt, int64(ends[3]), "\x01\x05Offho")
	none := unparsable(testSalt, int64(ends[3]), "\x00no headers at all")
	for _, c := range []struct {
		name  string
		bytes []byte
		want  []string
		torn  []byte // nil: no .torn file
		aside uint64
	}{
		{"whole", whole, all, nil, 0},
		{"zero length", []byte{}, []string{}, nil, 0},
		{"only a header", whole[:headerBytes], []string{}, nil, 0},
		{"a torn header", whole[:headerBytes-1], []string{}, whole[:headerBytes-1], 1},
		{"a damaged header", flip(9), []string{}, flip(9), 1},
		{"another version", join([]byte("offhook\x02"), whole[8:]), []string{}, join([]byte("offhook\x02"), whole[8:]), 1},
		{"not ours at all", []byte("hello, world\nhow are you?\n"), []string{}, []byte("hello, world\nhow are you?\n"), 1},
		{"a torn tail", whole[:ends[3]-1], all[:3], whole[ends[2] : ends[3]-1], 1},
		{"a tail of one byte", whole[:ends[2]+1], all[:3], whole[ends[2] : ends[2]+1], 1},
		{"zeros behind the end", join(whole, make([]byte, 5000)), all, make([]byte, 5000), 1},
		{"a hole in the middle", join(whole[:ends[0]], make([]byte, ends[1]-ends[0]), whole[ends[1]:]), []string{"e0000", "e0002", "e0003"}, make([]byte, ends[1]-ends[0]), 1},
		{"a body changed", flip(ends[1] - 3), []string{"e0000", "e0002", "e0003"}, flip(ends[1] - 3)[ends[0]:ends[1]], 1},
		{"a length changed", flip(ends[0] + 6), []string{"e0000", "e0002", "e0003"}, flip(ends[0] + 6)[ends[0]:ends[1]], 1},
		{"a marker changed", flip(ends[1]), []string{"e0000", "e0001", "e0003"}, flip(ends[1])[ends[1]:ends[2]], 1},
		{"the first record", flip(headerBytes), all[1:], flip(headerBytes)[headerBytes:ends[0]], 1},
		{"two places", join(flip(headerBytes)[:ends[1]], flip(ends[2] - 1)[ends[1]:]), []string{"e0001", "e0003"}, join(flip(headerBytes)[headerBytes:ends[0]], flip(ends[2] - 1)[ends[1]:ends[2]]), 2},
		{"a record in the wrong place", join(whole, whole[ends[0]:ends[1]]), all, whole[ends[0]:ends[1]], 1},
		{"another segment's records", join(whole, forged), all, forged, 1},
		{"headers cut off", join(whole, odd), all, odd, 1},
		{"no headers", join(whole, none), all, none, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			name := segmentName(3)
			writeFile(t, dir, name, c.bytes)
			var log logged
			s, err := Open(Config{Dir: dir}, log.logger())
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeSpool(t, s) })
			wantIDs(t, "drained", ids(drained(t, s)), c.want)
			if got := s.Stats(); got.SetAside != c.aside || got.Bytes != 0 {
				t.Errorf("it says %+v, want %d set aside", got, c.aside)
			}
			want := []string{}
			if c.torn != nil {
				want = append(want, name+tornSuffix)
				if got := readFile(t, dir, name+tornSuffix); !bytes.Equal(got, c.torn) {
					t.Errorf("set aside: %q, want %q", got, c.torn)
				}
			}
			wantIDs(t, "files", files(t, dir), want)
			if text := log.String(); (c.torn != nil) != strings.Contains(text, "set aside") || strings.Contains(text, "how are you") {
				t.Errorf("the log says %s", text)
			}
			mustAppend(t, s, event("new"))
			if names := files(t, dir); c.torn != nil && !slices.Contains(names, segmentName(4)) {
				t.Errorf("the next segment's number is not new: %v", names)
			}
		})
	}
}

// A body may hold what looks like a record.
func TestABodyThatHoldsASegmentIsNoWayIn(t *testing.T) {
	t.Parallel()
	forged, _ := segmentBytes(t, testSalt, event("forged"))
	carrier := event("carrier")
	carrier.Body = bytes.Repeat(forged, 10)
	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir})
	mustAppend(t, s, carrier, event("next"))
	closeSpool(t, s)
	b := readFile(t, dir, segmentName(1))
	b[headerBytes+recordHeader] ^= 1 // the carrier is damaged, so its body is searched
	writeFile(t, dir, segmentName(1), b)
	wantIDs(t, "drained", ids(drained(t, openSpool(t, Config{Dir: dir}))), []string{"next"})
}

func TestDamageThatComesAfterOpenIsSetAsideToo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir})
	mustAppend(t, s, events(3)...)
	b := readFile(t, dir, segmentName(1))
	i := bytes.Index(b, []byte(`"reference_id":"e0001"`))
	b[i]++
	writeFile(t, dir, segmentName(1), b)
	wantIDs(t, "drained", ids(drained(t, s)), []string{"e0000", "e0002"})
	if st := s.Stats(); st.SetAside != 1 || st.Drained != 2 {
		t.Errorf("it says %+v", st)
	}
	wantIDs(t, "files", files(t, dir), []string{segmentName(1) + tornSuffix})

	mustAppend(t, s, events(3)...)
	if err := os.Truncate(filepath.Join(dir, segmentName(2)), headerBytes+20); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "cut off behind our back", ids(drained(t, s)), []string{})

	mustAppend(t, s, event("gone"))
	if err := s.Drain(within(t), func(context.Context, []messages.Envelope) error {
		return os.Remove(filepath.Join(dir, segmentName(3)))
	}); err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); st.Bytes != 0 || st.Events != 0 {
		t.Errorf("removed behind our back, and it says %+v", st)
	}
}

func TestWhatIsNotOffhooksIsLeftAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	foreign := []string{"README", "1.spool", "00000000000000000001.spool~", "99999999999999999999.spool", "x.spool.torn", ".hidden", "0000000000000000000a.spool"}
	for _, name := range foreign {
		writeFile(t, dir, name, []byte("mine"))
	}
	directory := segmentName(7)
	if err := os.Mkdir(filepath.Join(dir, directory), 0o700); err != nil {
		t.Fatal(err)
	}
	link := segmentName(8)
	if err := os.Symlink(filepath.Join(dir, "README"), filepath.Join(dir, link)); err != nil {
		t.Fatal(err)
	}
	s := openSpool(t, Config{Dir: dir})
	mustAppend(t, s, event("a"))
	wantIDs(t, "drained", ids(drained(t, s)), []string{"a"})
	want := append(foreign, directory, link)
	slices.Sort(want)
	wantIDs(t, "files", files(t, dir), want)
	if st := s.Stats(); st.SetAside != 0 || st.Bytes != 0 {
		t.Errorf("it says %+v", st)
	}
}

// thrifty gives at most so many bytes at once, so that the reader's window ends
// everywhere.
type thrifty struct {
	io.ReaderAt
	most int
}

func (r thrifty) ReadAt(p []byte, at int64) (int, error) {
	return r.ReaderAt.ReadAt(p[:min(len(p), r.most)], at)
}

func TestTheNextRecordIsFoundWhereverTheWindowEnds(t *testing.T) {
	t.Parallel()
	whole, ends := segmentBytes(t, testSalt, events(5)...)
	whole[ends[0]+5] ^= 1                                         // a length
	copy(whole[ends[2]+20:], bytes.Repeat(testSalt.marker(), 20)) // a body
	for most := 1; most < len(whole); most++ {
		r := readSegment(thrifty{bytes.NewReader(whole), most}, testSalt, headerBytes, int64(len(whole)))
		var got []piece
		for p, err := r.next(); !errors.Is(err, io.EOF); p, err = r.next() {
			if err != nil {
				t.Fatal(err)
			}
			p.payload = nil
			got = append(got, p)
		}
		at := func(i int) int64 { return int64(ends[i]) }
		want := []piece{{at: headerBytes, end: at(0)}, {at: at(0), end: at(1), damaged: true}, {at: at(1), end: at(2)}, {at: at(2), end: at(3), damaged: true}, {at: at(3), end: at(4)}}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%d bytes at once: %v, want %v", most, got, want)
		}
	}
}

// When there is no room for a copy the segment itself is kept.
func TestWhatCannotBeCopiedAsideIsKept(t *testing.T) {
	t.Parallel()
	whole, ends := segmentBytes(t, testSalt, events(3)...)
	whole[ends[0]] ^= 1
	for _, op := range []string{"create", "write", "sync"} {
		dir, d := t.TempDir(), &faultyDisk{}
		name := segmentName(1)
		writeFile(t, dir, name, whole)
		d.fail(func(o, at string) (int, error) {
			if o == op && strings.HasSuffix(at, tornSuffix) {
				return 10, syscall.ENOSPC
			}
			return 0, nil
		})
		s := openOn(t, Config{Dir: dir}, d)
		wantIDs(t, op, ids(drained(t, s)), []string{"e0000", "e0002"})
		wantIDs(t, op, files(t, dir), []string{name + tornSuffix})
		if got := readFile(t, dir, name+tornSuffix); !bytes.Equal(got, whole) {
			t.Errorf("%s: %d of %d bytes were kept", op, len(got), len(whole))
		}
	}
}

// A process that dies between setting aside and draining changes nothing.
func TestSettingAsideTwiceIsSettingAsideOnce(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	whole, ends := segmentBytes(t, testSalt, events(3)...)
	whole[ends[0]] ^= 1
	writeFile(t, dir, segmentName(1), whole)
	for range 3 {
		closeSpool(t, openSpool(t, Config{Dir: dir}))
	}
	if got := readFile(t, dir, segmentName(1)+tornSuffix); !bytes.Equal(got, whole[ends[0]:ends[1]]) {
		t.Errorf("set aside: %d bytes, want %d", len(got), ends[1]-ends[0])
	}
	s := openSpool(t, Config{Dir: dir})
	wantIDs(t, "drained", ids(drained(t, s)), []string{"e0000", "e0002"})
	closeSpool(t, s)
	mustAppend(t, openSpool(t, Config{Dir: dir}), event("new"))
	wantIDs(t, "a number is not used again while a copy bears it", files(t, dir), []string{segmentName(1) + tornSuffix, segmentName(2)})
}

// The format is on the disk of whoever upgrades.
func TestTheFormatIsWhatItWas(t *testing.T) {
	t.Parallel()
	golden := filepath.Join("testdata", "version1.spool")
	env := event("golden")
	env.Deadline, env.ReplyTo, env.Trace = env.Arrived.Add(1), "_INBOX.a", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	told := messages.Envelope{Kind: messages.KindTold, EventID: "told", CallID: env.CallID, Arrived: env.Arrived, Body: []byte(`{"event_id":"golden","answer":"hold"}`)}
	got, _ := segmentBytes(t, testSalt, env, told)
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, got, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("a segment is\n%q\nand was\n%q", got, want)
	}
}
