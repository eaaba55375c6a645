package spool

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/offhook/offhook/messages"
)

// copyOf is what a directory holds now, as a crash would leave it.
func copyOf(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	for _, name := range files(t, dir) {
		writeFile(t, to, name, readFile(t, dir, name))
	}
	return to
}

// A crash leaves any part of the last write: what comes out is exactly the events whose
// records are whole, in order, and the rest is set aside.
func TestACrashAtEveryByteOfTheLastSegment(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir, SegmentBytes: 1500})
	var all, sealed []string
	var ends []int // in the last segment
	for i, last := 0, ""; len(ends) < 4 || len(all) < 20; i++ {
		env := event(fmt.Sprintf("e%d", i))
		env.Body = make([]byte, rnd.IntN(150))
		mustAppend(t, s, env)
		names := files(t, dir)
		if newest := names[len(names)-1]; newest != last {
			last, sealed, ends = newest, slices.Clone(all), nil
		}
		all = append(all, env.EventID)
		ends = append(ends, len(readFile(t, dir, last)))
	}
	names := files(t, dir)
	last := names[len(names)-1]
	whole := readFile(t, dir, last)
	for cut := range len(whole) + 1 {
		crashed := copyOf(t, dir)
		writeFile(t, crashed, last, whole[:cut])
		want, rest := slices.Clone(sealed), cut
		for i, end := range ends {
			if end <= cut {
				want = append(want, all[len(sealed)+i])
				rest = cut - end
			}
		}
		if len(want) == len(sealed) && cut >= headerBytes {
			rest = cut - headerBytes
		}
		next, err := open(Config{Dir: crashed}, discard, newUnsureDisk(crashed)) // it need not be durable, there are many
		if err != nil {
			t.Fatal(err)
		}
		wantIDs(t, fmt.Sprintf("cut after byte %d", cut), ids(drained(t, next)), want)
		if aside := next.Stats().SetAside; (aside == 1) != (rest > 0) {
			t.Fatalf("cut after byte %d: %d pieces set aside of %d bytes", cut, aside, rest)
		}
		if rest > 0 {
			if got := readFile(t, crashed, last+tornSuffix); string(got) != string(whole[cut-rest:cut]) {
				t.Fatalf("cut after byte %d: set aside %d bytes, want %d", cut, len(got), rest)
			}
		}
		closeSpool(t, next)
	}
}

// unsureDisk keeps in mind what a power cut would leave: a file's bytes up to its last
// fsync for sure, and whether a name is in the directory only after an fsync of that.
type unsureDisk struct {
	osDisk
	dir string

	mu     sync.Mutex
	synced map[string]int64 // bytes of a file that are durable
	names  map[string]bool  // names that are durable
}

type unsureFile struct {
	file
	disk *unsureDisk
	name string
}

func (d *unsureDisk) open(path string, flag int) (file, error) {
	f, err := d.osDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return &unsureFile{file: f, disk: d, name: filepath.Base(path)}, nil
}

func (f *unsureFile) Sync() error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	f.disk.synced[f.name] = info.Size()
	return nil
}

func (d *unsureDisk) syncDir(string) error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.names)
	for _, e := range entries {
		d.names[e.Name()] = true
	}
	return nil
}

// cut is a directory as a power cut may leave it. What was not made durable is there in
// part, garbled or not at all.
func (d *unsureDisk) cut(t testing.TB, rnd *rand.Rand) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	to := t.TempDir()
	names := slices.Collect(maps.Keys(d.names))
	for _, name := range files(t, d.dir) {
		if !d.names[name] && rnd.IntN(2) == 0 {
			names = append(names, name)
		}
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(d.dir, name))
		if errors.Is(err, os.ErrNotExist) || name == lockName {
			continue // removed, though a cut may bring it back: it was published
		}
		sure := d.synced[name]
		b = b[:sure+rnd.Int64N(int64(len(b))-sure+1)]
		for i := sure; i < int64(len(b)); i++ {
			if rnd.IntN(20) == 0 {
				b[i] = byte(rnd.Uint32())
			}
		}
		writeFile(t, to, name, b)
	}
	return to
}

func newUnsureDisk(dir string) *unsureDisk {
	return &unsureDisk{dir: dir, synced: make(map[string]int64), names: make(map[string]bool)}
}

// I1 across power cuts, over and over on the same spool: whatever was acknowledged and
// not published comes out of the next process, in order.
func TestAPowerCutLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var owed []string // acknowledged, not published
		dir, n := t.TempDir(), 0
		for range 4 {
			d := newUnsureDisk(dir)
			for _, name := range files(t, dir) { // what an earlier process left has been on the disk for long
				d.names[name] = true
				d.synced[name] = int64(len(readFile(t, dir, name)))
			}
			s, err := open(Config{Dir: dir, SegmentBytes: 1 + rnd.Int64N(2000), Batch: 1 + rnd.IntN(5)}, discard, d)
			if err != nil {
				t.Fatal(err)
			}
			for range rnd.IntN(12) {
				if rnd.IntN(4) == 0 {
					owed = drainSome(t, s, rnd, owed)
					continue
				}
				var envs []messages.Envelope
				for range 1 + rnd.IntN(3) {
					n++
					envs = append(envs, event(fmt.Sprintf("e%d", n)))
				}
				mustAppend(t, s, envs...)
				owed = append(owed, ids(envs)...)
			}
			dir = d.cut(t, rnd)
			closeSpool(t, s)
		}
		next := openSpool(t, Config{Dir: dir})
		got := ids(drained(t, next))
		wantIn(t, fmt.Sprintf("seed %d", seed), got, owed)
	}
}

// drainSome publishes a few batches, and is what is owed after that.
func drainSome(t testing.TB, s *Spool, rnd *rand.Rand, owed []string) []string {
	t.Helper()
	enough := errors.New("enough")
	var got []string
	err := s.Drain(within(t), func(_ context.Context, envs []messages.Envelope) error {
		n := rnd.IntN(len(envs) + 1)
		got = append(got, ids(envs[:n])...)
		if n == len(envs) {
			return nil
		}
		return &PartialError{Stored: n, Err: enough}
	})
	if err != nil && !errors.Is(err, enough) {
		t.Fatal(err)
	}
	return slices.DeleteFunc(owed, func(id string) bool { return slices.Contains(got, id) })
}

// wantIn fails unless want is in got, in its order; there may be others in between.
func wantIn(t testing.TB, what string, got, want []string) {
	t.Helper()
	rest := got
	for _, id := range want {
		i := slices.Index(rest, id)
		if i < 0 {
			t.Fatalf("%s: %s is lost or out of order:\n got %v\nwant %v", what, id, got, want)
		}
		rest = rest[i+1:]
	}
}

// childDir tells the re-executed test binary where to append, and childHalf the number
// of the write in the middle of which it stops and asks to be killed.
const (
	childDir  = "OFFHOOK_TEST_SPOOL_DIR"
	childHalf = "OFFHOOK_TEST_SPOOL_HALF"
	half      = "half"
)

// halfDisk writes the most of one write and says so, and then the process does no more.
type halfDisk struct {
	osDisk
	writes int // until then
}

type halfFile struct {
	file
	disk *halfDisk
}

func (d *halfDisk) open(path string, flag int) (file, error) {
	f, err := d.osDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return &halfFile{file: f, disk: d}, nil
}

func (f *halfFile) Write(p []byte) (int, error) {
	if f.disk.writes--; f.disk.writes != 0 {
		return f.file.Write(p)
	}
	_, _ = f.file.Write(p[:len(p)-recordHeader]) // in the middle of the last record
	_, _ = io.WriteString(os.Stdout, half+"\n")
	select {}
}

// appendForEver writes the ids of what was acknowledged to standard output, as fast as
// it can from several goroutines, until it is killed.
func appendForEver(dir string) int {
	writes, _ := strconv.Atoi(os.Getenv(childHalf))
	s, err := open(Config{Dir: dir, SegmentBytes: 64 << 10}, discard, &halfDisk{writes: writes})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	acknowledged := make(chan string)
	for p := range 8 {
		go func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d-%d", os.Getpid(), p, i)
				if err := s.Append(context.Background(), event(id)); err != nil {
					fmt.Fprintln(os.Stderr, err)
					os.Exit(1)
				}
				acknowledged <- id
			}
		}()
	}
	for id := range acknowledged {
		_, _ = io.WriteString(os.Stdout, id+"\n")
	}
	return 0
}

// I1 for a real process: it is killed at any moment, several times on the same
// directory, and all it has acknowledged is there.
func TestKillNineLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rnd := rand.New(rand.NewPCG(3, 4))
	acknowledged := make(map[string]bool)
	halves := []int{0, 1, 0, 2, 40} // 0: killed wherever it is
	for round, writes := range halves {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childDir+"="+dir, fmt.Sprintf("%s=%d", childHalf, writes))
		var complaint strings.Builder
		child.Stderr = &complaint
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		enough, n := 50+rnd.IntN(1000), 0
		if writes > 0 {
			enough = math.MaxInt
		}
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if err != nil { // it is dead, and the pipe is read to its end
				break
			}
			n++
			if line == half+"\n" {
				enough = n
			} else {
				acknowledged[strings.TrimSpace(line)] = true
			}
			if n == enough {
				if err := child.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := child.Wait(); err == nil || n < enough {
			t.Fatalf("round %d: %d were acknowledged, then it ended by itself (%v): %s", round, n, err, complaint.String())
		}
	}
	s := openSpool(t, Config{Dir: dir})
	torn, err := filepath.Glob(filepath.Join(dir, "*"+tornSuffix))
	if err != nil || len(torn) != 3 {
		t.Errorf("set aside is %v (%v), 3 writes were cut short", torn, err)
	}
	published := make(map[string]bool)
	for _, id := range ids(drained(t, s)) {
		if published[id] {
			t.Errorf("%s came out twice", id)
		}
		published[id] = true
	}
	for id := range acknowledged {
		if !published[id] {
			t.Errorf("%s was acknowledged and is lost", id)
		}
	}
}
