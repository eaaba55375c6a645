package spool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

// eventually asks until the answer is yes.
func eventually(t testing.TB, what string, ask func() bool) {
	t.Helper()
	deadline := time.After(patience)
	again := time.NewTicker(time.Millisecond)
	defer again.Stop()
	for !ask() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("still not so after %s: %s", patience, what)
		}
	}
}

func TestWhatPublishRefusesIsPublishedAgain(t *testing.T) {
	t.Parallel()
	stop := errors.New("the stream is gone")
	for _, c := range []struct {
		name string
		err  error
		want []string // of the second drain
	}{
		{"all of it", stop, []string{"e0000", "e0001", "e0002", "e0003", "e0004"}},
		{"all but a prefix", &PartialError{Stored: 2, Err: stop}, []string{"e0002", "e0003", "e0004"}},
		{"wrapped", fmt.Errorf("publish: %w", &PartialError{Stored: 1, Err: stop}), []string{"e0001", "e0002", "e0003", "e0004"}},
		{"a prefix of nothing", &PartialError{Stored: 0, Err: stop}, []string{"e0000", "e0001", "e0002", "e0003", "e0004"}},
		{"more than there was", &PartialError{Stored: 99, Err: stop}, []string{"e0003", "e0004"}},
		{"less than nothing", &PartialError{Stored: -1, Err: stop}, []string{"e0000", "e0001", "e0002", "e0003", "e0004"}},
	} {
		s := openSpool(t, Config{Dir: t.TempDir(), Batch: 3})
		mustAppend(t, s, events(5)...)
		if err := s.Drain(within(t), func(context.Context, []messages.Envelope) error { return c.err }); !errors.Is(err, stop) {
			t.Fatalf("%s: Drain returned %v", c.name, err)
		}
		if st := s.Stats(); s.Empty() || st.Events != len(c.want) || st.Oldest.IsZero() {
			t.Errorf("%s: it says %+v", c.name, st)
		}
		wantIDs(t, c.name, ids(drained(t, s)), c.want)
	}
}

func TestBatchesAreBounded(t *testing.T) {
	t.Parallel()
	s := openSpool(t, Config{Dir: t.TempDir(), Batch: 10})
	envs := events(25)
	for i := range envs[20:] {
		envs[20+i].Body = make([]byte, 400<<10)
	}
	mustAppend(t, s, envs...)
	var sizes []int
	if err := s.Drain(within(t), func(_ context.Context, got []messages.Envelope) error {
		sizes = append(sizes, len(got))
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if want := []int{10, 10, 3, 2}; !slices.Equal(sizes, want) {
		t.Errorf("batches of %v, want %v", sizes, want)
	}
}

func TestSegmentsGoAsTheyAreDrained(t *testing.T) {
	t.Parallel()
	s := openSpool(t, Config{Dir: t.TempDir(), SegmentBytes: 1000, Batch: 100})
	for _, env := range events(40) {
		mustAppend(t, s, env)
	}
	before := files(t, s.cfg.Dir)
	if len(before) < 5 {
		t.Fatalf("40 events in %v", before)
	}
	for _, name := range before {
		if n := len(readFile(t, s.cfg.Dir, name)); n > 1000 {
			t.Errorf("%s has %d bytes", name, n)
		}
	}
	n := 0
	if err := s.Drain(within(t), func(context.Context, []messages.Envelope) error {
		if left := files(t, s.cfg.Dir); !slices.Equal(left, before[n:]) {
			t.Errorf("while segment %d is published there are %v", n, left)
		}
		n++
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if n != len(before) {
		t.Errorf("%d batches of %d segments", n, len(before))
	}
}

func TestAnAppendThatWasAcknowledgedKeepsTheSpoolFromBeingEmpty(t *testing.T) {
	t.Parallel()
	s := openSpool(t, Config{Dir: t.TempDir(), SegmentBytes: 4000, Batch: 7})
	ctx, cancel := context.WithCancel(within(t))
	var all sync.WaitGroup
	var mu sync.Mutex
	published := make(map[string]bool)
	all.Go(func() {
		for {
			select {
			case <-s.NotEmpty():
			case <-ctx.Done():
				return
			}
			for n := 0; !s.Empty(); n++ {
				err := s.Drain(ctx, func(_ context.Context, envs []messages.Envelope) error {
					stored := len(envs)
					if n%3 == 1 {
						stored /= 2
					}
					mu.Lock()
					defer mu.Unlock()
					for _, id := range ids(envs[:stored]) {
						published[id] = true
					}
					if stored < len(envs) {
						return &PartialError{Stored: stored, Err: errors.New("again")}
					}
					return nil
				})
				if ctx.Err() != nil || err == nil {
					break
				}
			}
		}
	})
	var appenders sync.WaitGroup
	const people, each = 8, 60
	for p := range people {
		appenders.Go(func() {
			for i := range each {
				id := fmt.Sprintf("p%d-%d", p, i)
				if err := s.Append(ctx, event(id)); err != nil {
					t.Error(err)
					return
				}
				if s.Empty() {
					mu.Lock()
					if !published[id] {
						t.Errorf("the spool is empty and %s is not published", id)
					}
					mu.Unlock()
				}
			}
		})
	}
	appenders.Wait()
	if err := s.AwaitEmpty(within(t)); err != nil {
		t.Fatal(err)
	}
	st := s.Stats()
	if st.Appended != people*each || st.Drained != people*each || st.Events != 0 {
		t.Errorf("it says %+v", st)
	}
	cancel()
	all.Wait()
}

// Every person appends one after the other, so each one's events must come out in
// this order, whoever else appends and however often publish fails.
func TestOrderIsThatOfAppendUnderConcurrency(t *testing.T) {
	t.Parallel()
	s := openSpool(t, Config{Dir: t.TempDir(), SegmentBytes: 3000, Batch: 5})
	const people, each = 6, 50
	var appenders sync.WaitGroup
	for p := range people {
		appenders.Go(func() {
			for i := range each {
				a, b := event(fmt.Sprintf("%d/%03d/a", p, i)), event(fmt.Sprintf("%d/%03d/b", p, i))
				if err := s.Append(within(t), a, b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	over := make(chan struct{})
	go func() { appenders.Wait(); close(over) }()
	var got []string
	calls := 0
	publish := func(_ context.Context, envs []messages.Envelope) error {
		if calls++; calls%4 == 0 {
			n := len(envs) / 2
			got = append(got, ids(envs[:n])...)
			return &PartialError{Stored: n, Err: errors.New("away")}
		}
		got = append(got, ids(envs)...)
		return nil
	}
	for done := false; !done || !s.Empty(); {
		_ = s.Drain(within(t), publish) // it fails every now and then
		select {
		case <-over:
			done = true
		case <-s.NotEmpty():
		case <-within(t).Done():
			t.Fatal("it never ends")
		}
	}
	if len(got) != people*each*2 {
		t.Fatalf("%d events came out, want %d", len(got), people*each*2)
	}
	next := make(map[string]string)
	for i, id := range got {
		person, _, _ := strings.Cut(id, "/")
		if id <= next[person] {
			t.Errorf("%s came after %s", id, next[person])
		}
		next[person] = id
		if strings.HasSuffix(id, "a") && got[i+1] != strings.TrimSuffix(id, "a")+"b" {
			t.Errorf("%s is followed by %s", id, got[i+1])
		}
	}
}

func TestDrainEndsWithItsContext(t *testing.T) {
	t.Parallel()
	s := openSpool(t, Config{Dir: t.TempDir(), Batch: 1})
	mustAppend(t, s, events(3)...)
	ctx, cancel := context.WithCancel(within(t))
	err := s.Drain(ctx, func(context.Context, []messages.Envelope) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Drain returned %v", err)
	}
	if st := s.Stats(); st.Events != 2 || st.Oldest.IsZero() {
		t.Errorf("it says %+v", st)
	}
	wantIDs(t, "the rest", ids(drained(t, s)), []string{"e0001", "e0002"})
}

func TestCloseEndsEverything(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir, Batch: 1})
	mustAppend(t, s, events(3)...)
	inPublish := make(chan struct{})
	var all sync.WaitGroup
	results := make(chan error, 3)
	all.Go(func() {
		results <- s.Drain(within(t), func(ctx context.Context, envs []messages.Envelope) error {
			if envs[0].EventID == "e0000" {
				return nil
			}
			close(inPublish)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	<-inPublish
	all.Go(func() { // waits for the first
		results <- s.Drain(within(t), func(context.Context, []messages.Envelope) error { return errors.New("two drains at once") })
	})
	all.Go(func() { results <- s.AwaitEmpty(within(t)) })
	for range 2 {
		all.Go(func() { closeSpool(t, s) })
	}
	all.Wait()
	for range 3 {
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("it ended with %v", err)
		}
	}
	if err := s.Append(within(t), event("late")); !errors.Is(err, ErrClosed) || messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("Append after Close: %v", err)
	}
	if err := s.Drain(within(t), nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Drain after Close: %v", err)
	}
	next := openSpool(t, Config{Dir: dir})
	select {
	case <-next.NotEmpty():
	default:
		t.Error("the next process is not told that there is something")
	}
	wantIDs(t, "the next process", ids(drained(t, next)), []string{"e0000", "e0001", "e0002"})
}

func TestAppendsUnderWayWhenItIsClosedAreKeptOrRefused(t *testing.T) {
	t.Parallel()
	for range 20 {
		dir := t.TempDir()
		s := openSpool(t, Config{Dir: dir})
		var all sync.WaitGroup
		var mu sync.Mutex
		var kept []string
		begun := make(chan struct{}, 100)
		for p := range 8 {
			all.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("%d/%d", p, i)
					if err := s.Append(within(t), event(id)); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
					mu.Lock()
					kept = append(kept, id)
					mu.Unlock()
					select {
					case begun <- struct{}{}:
					default:
					}
				}
			})
		}
		<-begun
		closeSpool(t, s)
		all.Wait()
		got := ids(drained(t, openSpool(t, Config{Dir: dir})))
		slices.Sort(got)
		slices.Sort(kept)
		wantIDs(t, "kept", got, kept)
	}
}

// A segment whose end was published when Drain was interrupted is not published again
// by the next process.
func TestCloseRemovesWhatIsPublished(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir})
	mustAppend(t, s, event("a"))
	err := s.Drain(within(t), func(context.Context, []messages.Envelope) error {
		return &PartialError{Stored: 1, Err: errors.New("the confirmation was lost")}
	})
	if err == nil || !s.Empty() {
		t.Fatalf("Drain returned %v, empty is %v", err, s.Empty())
	}
	closeSpool(t, s)
	wantIDs(t, "files", files(t, dir), []string{})
}
