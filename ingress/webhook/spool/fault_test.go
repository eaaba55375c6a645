package spool

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/offhook/offhook/messages"
)

var errNoSpace = &os.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}

// After any failure of the disk the caller gets an error, the segment is done with, a
// new one is begun, and everything that was acknowledged comes out.
func TestASegmentIsGivenUpAfterAFailure(t *testing.T) {
	t.Parallel()
	for _, first := range []bool{true, false} {
		for _, ops := range [][]string{{"create"}, {"write"}, {"sync"}, {"syncdir"}, {"write", "truncate"}, {"sync", "truncate"}, {"sync", "truncate", "remove"}} {
			if !first && (ops[0] == "create" || ops[0] == "syncdir") {
				continue // only a segment's first append does that
			}
			t.Run(fmt.Sprintf("%s first=%v", strings.Join(ops, "+"), first), func(t *testing.T) {
				t.Parallel()
				dir, d := t.TempDir(), &faultyDisk{}
				s := openOn(t, Config{Dir: dir}, d)
				var kept []string
				if !first {
					mustAppend(t, s, event("before"))
					kept = append(kept, "before")
				}
				d.fail(failing(errNoSpace, ops...))
				for _, id := range []string{"lost1", "lost2"} {
					err := s.Append(within(t), event(id))
					// The first failure ends the segment, the second one begins another.
					if first || id == "lost1" || ops[0] != "syncdir" {
						if !errors.Is(err, syscall.ENOSPC) || messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), dir) {
							t.Fatalf("%s: %v", id, err)
						}
					}
				}
				if n := s.Stats().Events; n != len(kept) {
					t.Fatalf("it counts %d events, %d were acknowledged", n, len(kept))
				}
				d.fail(nil)
				mustAppend(t, s, event("after"))
				kept = append(kept, "after")
				if newest := segmentName(s.lastCreated); !strings.Contains(strings.Join(d.ops, "\n"), "write "+newest) || s.lastCreated < 2 {
					t.Errorf("the append after the failure went to an old segment, not %s:\n%s", newest, strings.Join(d.ops, "\n"))
				}
				wantIDs(t, "drained", ids(drained(t, s)), kept)
				if st := s.Stats(); len(ops) == 2 && st.Bytes != 0 {
					t.Errorf("an empty spool counts %d bytes: %v", st.Bytes, files(t, dir))
				}
			})
		}
	}
}

// A crash right after the failure may bring back what was not acknowledged, never less
// than what was.
func TestACrashAfterAFailureLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	for _, op := range []string{"write", "sync"} {
		d := &faultyDisk{}
		s := openOn(t, Config{Dir: t.TempDir()}, d)
		mustAppend(t, s, event("a"), event("b"))
		d.fail(failing(errNoSpace, op, "truncate"))
		if err := s.Append(within(t), event("lost")); err == nil {
			t.Fatal("the failure was not reported")
		}
		d.fail(nil)
		mustAppend(t, s, event("c"))
		next := openSpool(t, Config{Dir: copyOf(t, s.cfg.Dir)})
		want := []string{"a", "b", "c"}
		if op == "sync" {
			want = []string{"a", "b", "lost", "c"}
		}
		wantIDs(t, op, ids(drained(t, next)), want)
		if aside := next.Stats().SetAside; (aside == 1) != (op == "write") {
			t.Errorf("%s: %d pieces set aside", op, aside)
		}
	}
}

func TestAFailureIsEveryonesWhoSharedTheFsync(t *testing.T) {
	t.Parallel()
	d := &faultyDisk{}
	entered, let := make(chan struct{}), make(chan struct{})
	d.fail(func(op, _ string) (int, error) {
		if op != "sync" {
			return 0, nil
		}
		entered <- struct{}{}
		<-let
		return 0, errNoSpace
	})
	s, err := open(Config{Dir: t.TempDir()}, discard, &blockingDisk{faultyDisk: d})
	if err != nil {
		t.Fatal(err)
	}
	defer closeSpool(t, s)
	errs := make(chan error, 5)
	var all sync.WaitGroup
	add := func(id string) { all.Go(func() { errs <- s.Append(within(t), event(id)) }) }
	add("first")
	<-entered
	for _, id := range []string{"a", "b", "c", "d"} { // they share the next one
		add(id)
	}
	eventually(t, "four wait", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.queue) == 4 })
	let <- struct{}{}
	<-entered
	let <- struct{}{}
	all.Wait()
	for range 5 {
		if err := <-errs; !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("an append ended with %v", err)
		}
	}
	if s.reserved != 0 || s.Stats().Bytes != 0 || !s.Empty() {
		t.Errorf("refused appends take room: %d reserved, %+v", s.reserved, s.Stats())
	}
}

// blockingDisk asks for faults without its lock, so that they may block.
type blockingDisk struct{ *faultyDisk }

func (d *blockingDisk) open(path string, flag int) (file, error) {
	f, err := d.faultyDisk.osDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return &blockingFile{file: f, fault: d.fault}, nil
}

type blockingFile struct {
	file
	fault fault
}

func (f *blockingFile) Sync() error {
	if _, err := f.fault("sync", ""); err != nil {
		return err
	}
	return f.file.Sync()
}

func TestAnAppendWhoseContextEndsIsDrainedAllTheSame(t *testing.T) {
	t.Parallel()
	entered, let := make(chan struct{}), make(chan struct{})
	d := &faultyDisk{fault: func(op, _ string) (int, error) {
		if op == "sync" {
			entered <- struct{}{}
			<-let
		}
		return 0, nil
	}}
	s := openOn(t, Config{Dir: t.TempDir()}, &blockingDisk{faultyDisk: d})
	ctx, cancel := context.WithCancel(within(t))
	cancel()
	if err := s.Append(ctx, event("never")); !errors.Is(err, context.Canceled) {
		t.Fatalf("with a context that has ended: %v", err)
	}
	ctx, cancel = context.WithCancel(within(t))
	result := make(chan error)
	go func() { result <- s.Append(ctx, event("slow")) }()
	<-entered
	cancel()
	if err := <-result; !errors.Is(err, context.Canceled) || messages.CodeOf(err) != messages.CodeTimeout {
		t.Fatalf("the append ended with %v", err)
	}
	if !s.Empty() {
		t.Error("it counts before it is durable")
	}
	close(let)
	<-s.NotEmpty()
	wantIDs(t, "drained", ids(drained(t, s)), []string{"slow"})
}

func TestOneLineForAnOutageOfTheDisk(t *testing.T) {
	t.Parallel()
	var log logged
	d := &faultyDisk{}
	s, err := open(Config{Dir: t.TempDir()}, log.logger(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer closeSpool(t, s)
	d.fail(failing(errNoSpace, "create"))
	for range 10 {
		if err := s.Append(within(t), event("a")); err == nil {
			t.Fatal("the failure was not reported")
		}
	}
	d.fail(nil)
	mustAppend(t, s, event("b"))
	mustAppend(t, s, event("c"))
	if text := log.String(); strings.Count(text, "cannot write") != 1 || strings.Count(text, "can write again") != 1 {
		t.Errorf("the log says:\n%s", text)
	}
}

func TestASegmentThatCannotBeReadDoesNotBlockTheOthers(t *testing.T) {
	t.Parallel()
	dir, d := t.TempDir(), &faultyDisk{}
	s := openOn(t, Config{Dir: dir, SegmentBytes: 1}, d)
	for _, id := range []string{"a", "b", "c"} {
		mustAppend(t, s, event(id))
	}
	bad := segmentName(1)
	d.fail(func(op, name string) (int, error) {
		if name == bad && op == "read" {
			return 0, syscall.EIO
		}
		return 0, nil
	})
	var got []string
	publish := func(_ context.Context, envs []messages.Envelope) error {
		got = append(got, ids(envs)...)
		return nil
	}
	for range maxFailures - 1 {
		if err := s.Drain(within(t), publish); !errors.Is(err, syscall.EIO) || len(got) != 0 {
			t.Fatalf("Drain returned %v after %v", err, got)
		}
	}
	if err := s.Drain(within(t), publish); err != nil {
		t.Fatal(err)
	}
	wantIDs(t, "drained", got, []string{"b", "c"})
	if left := files(t, dir); len(left) != 1 || left[0] != bad {
		t.Errorf("left in place: %v", left)
	}
	if st := s.Stats(); st.SetAside != 1 || st.Events != 0 || st.Bytes == 0 {
		t.Errorf("it says %+v", st)
	}
	closeSpool(t, s)

	// Still not: the next process leaves it, too; when it can be read it comes out.
	s = openOn(t, Config{Dir: dir}, d)
	if st := s.Stats(); st.SetAside != 1 || st.Events != 0 || st.Bytes == 0 {
		t.Errorf("the next process says %+v", st)
	}
	closeSpool(t, s)
	d.fail(nil)
	wantIDs(t, "once it can be read", ids(drained(t, openOn(t, Config{Dir: dir}, d))), []string{"a"})
}

func TestASegmentThatCanBeReadAgainIsNotGivenUp(t *testing.T) {
	t.Parallel()
	d := &faultyDisk{}
	s := openOn(t, Config{Dir: t.TempDir()}, d)
	mustAppend(t, s, event("a"))
	away := errors.New("the stream is away")
	for range 2 * maxFailures {
		for _, want := range []error{syscall.EIO, away} {
			d.fail(nil)
			if errors.Is(want, syscall.EIO) {
				d.fail(failing(syscall.EIO, "read"))
			}
			err := s.Drain(within(t), func(context.Context, []messages.Envelope) error { return away })
			if !errors.Is(err, want) {
				t.Fatalf("Drain returned %v, want %v", err, want)
			}
		}
	}
	wantIDs(t, "drained", ids(drained(t, s)), []string{"a"})
}

func TestASegmentThatCannotBeRemovedIsNotPublishedForEver(t *testing.T) {
	t.Parallel()
	dir, d := t.TempDir(), &faultyDisk{}
	s := openOn(t, Config{Dir: dir}, d)
	mustAppend(t, s, event("a"))
	d.fail(failing(syscall.EROFS, "remove"))
	wantIDs(t, "drained", ids(drained(t, s)), []string{"a"})
	if st := s.Stats(); st.Bytes != bytesIn(t, dir) || st.Bytes == 0 {
		t.Errorf("the file is still there, and Stats says %+v", st)
	}
	wantIDs(t, "drained again", ids(drained(t, s)), []string{})
}
