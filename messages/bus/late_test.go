package bus

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

// always is the ready of a store that is never away.
func always(context.Context) error { return nil }

// consumeLate runs a loop on the late lane until the test ends.
func consumeLate(t testing.TB, b *Bus, c ConsumerConfig, handle func(Delivery) Result) *running {
	t.Helper()
	return consumeLateReady(t, b, c, always, func(_ context.Context, d Delivery) Result { return handle(d) })
}

func consumeLateReady(t testing.TB, b *Bus, c ConsumerConfig, ready func(context.Context) error, handle func(context.Context, Delivery) Result) *running {
	t.Helper()
	return consume(t, func(ctx context.Context) error { return b.ConsumeLate(ctx, c, ready, handle) })
}

// delivery is a delivery of an event of call, as ConsumeEvents hands it out.
func delivery(call string, sequence uint64) Delivery {
	e := event(call)
	e.EventID = fmt.Sprintf("%s-%d", call, sequence)
	return Delivery{Envelope: e, Attempt: 1, Sequence: sequence}
}

func deferEvent(t testing.TB, b *Bus, d Delivery) {
	t.Helper()
	if err := b.Defer(within(t, patience), d); err != nil {
		t.Fatal(err)
	}
}

// drained waits until the late lane is empty.
func drained(t testing.TB, b *Bus) {
	t.Helper()
	eventually(t, "the late lane is drained", func() bool { return streamInfo(t, b, messages.StreamLate).State.Msgs == 0 })
}

// inPartition is n calls of one partition.
func inPartition(p string, n int) []string {
	var calls []string
	for i := 0; len(calls) < n; i++ {
		if c := fmt.Sprintf("call-%d", i); messages.Partition(c) == p {
			calls = append(calls, c)
		}
	}
	return calls
}

func TestADeferredEventIsTheSameEventWithoutAnybodyWaiting(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	d := delivery("call/1 with spaces", 77)
	d.Deadline, d.ReplyTo, d.Late = d.Arrived.Add(time.Second), "inbox.1", true
	d.Trace, d.State = "00-trace-01", "vendor=1"
	deferEvent(t, b, d)
	type run struct {
		Delivery
		left uint64
	}
	got := make(chan run, 2)
	consumeLate(t, b, ConsumerConfig{}, func(d Delivery) Result {
		got <- run{d, streamInfo(t, b, messages.StreamLate).State.LastSeq}
		if d.Stored.IsZero() {
			t.Error("no time of storing")
		}
		if streamInfo(t, b, messages.StreamLate).State.LastSeq == 1 {
			if err := b.Defer(t.Context(), d); err != nil {
				t.Error(err)
			}
		}
		return Done()
	})
	for n := range uint64(2) { // deferred again it is the same still, at the tail
		r := receive(t, "the event", got)
		if r.EventID != d.EventID || r.CallID != d.CallID || r.Event != d.Event || r.Kind != d.Kind || !bytes.Equal(r.Body, d.Body) ||
			!r.Arrived.Equal(d.Arrived.Truncate(time.Microsecond)) || !r.Late || r.Trace != d.Trace || r.State != d.State {
			t.Errorf("got %+v, want %+v", r.Envelope, d.Envelope)
		}
		if r.ReplyTo != "" || !r.Deadline.IsZero() {
			t.Errorf("somebody waits at %q until %s", r.ReplyTo, r.Deadline)
		}
		if !r.Deferred || r.Sequence != 77 || r.Attempt != 1 || r.left != n+1 {
			t.Errorf("deferred %t, sequence %d, attempt %d, of %d", r.Deferred, r.Sequence, r.Attempt, r.left)
		}
	}
	drained(t, b)
	if s := b.Stats(); s.Deferred != 2 || s.Redelivered != 0 {
		t.Errorf("counted %d deferred, %d redelivered; want 2 and 0", s.Deferred, s.Redelivered)
	}
}

// The largest event of the events stream fits the late lane, and from there the failed
// stream.
func TestWhatCanBeStoredCanBeDeferredAndParked(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	e := event("c")
	e.Late = true
	for size := maxMessage; ; size-- {
		e.Body = bytes.Repeat([]byte("x"), size)
		if err := b.Tell(within(t, patience), e); err == nil {
			break
		} else if messages.CodeOf(err) != messages.CodeTooLarge {
			t.Fatal(err)
		}
	}
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result {
		d.Sequence = 1<<64 - 1
		if err := b.Defer(t.Context(), d); err != nil {
			t.Errorf("%d bytes: %v", len(d.Body), err)
		}
		return Done()
	})
	consumeLate(t, b, ConsumerConfig{}, func(Delivery) Result {
		return Park(messages.ReasonRejected, fmt.Errorf("%s", strings.Repeat("ü", 20_000)))
	})
	if f := parked(t, b); len(f.Body) != len(e.Body) || !strings.HasPrefix(f.Subject, "offhook.late.") {
		t.Errorf("%d bytes were parked of %d, from %s", len(f.Body), len(e.Body), f.Subject)
	}
}

func TestDeferSaysWhenItCouldNot(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	s.Close()
	eventually(t, "disconnected", func() bool { return !b.Connected() })
	if err := b.Defer(within(t, patience), delivery("c", 1)); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v, want unavailable", err)
	}
	if n := b.Stats().Deferred; n != 0 {
		t.Errorf("counted %d", n)
	}
}

func TestEveryWorkerKnowsWhatWaitsAndWhenItIsDrained(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	defers, other := connect(t, s), connect(t, s)
	goOn := make(chan struct{})
	handle := func(Delivery) Result { <-goOn; return Done() }
	r1, r2 := consumeLate(t, defers, ConsumerConfig{}, handle), consumeLate(t, other, ConsumerConfig{}, handle)
	defer r1.end(t)
	defer r2.end(t)
	calls := inPartition("05", 2)
	elsewhere := inPartition("06", 1)[0]
	eventually(t, "the other listens", func() bool {
		deferEvent(t, defers, delivery(calls[0], 1))
		if !defers.LateWaiting(calls[1]) {
			t.Fatal("the process that deferred does not know of it")
		}
		return other.LateWaiting(calls[1])
	})
	if defers.LateWaiting(elsewhere) || other.LateWaiting(elsewhere) {
		t.Error("another partition waits")
	}
	close(goOn)
	drained(t, other)
	began := time.Now()
	eventually(t, "both know that it is drained", func() bool {
		return !defers.LateWaiting(calls[0]) && !other.LateWaiting(calls[0]) && other.nc.Flush() == nil
	})
	t.Logf("known %s after the lane was drained", time.Since(began))
	if took := time.Since(began); took > lookIdle {
		t.Errorf("it took %s to know that the lane is drained", took)
	}
}

// A worker that starts, or was away, must not step events ahead of what waits.
func TestAWorkerThatHeardNothingAsks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServerAt(t, dir, "127.0.0.1:0")
	b := connect(t, s)
	deferEvent(t, b, delivery("c", 1))
	if late := connect(t, s); !late.LateWaiting("c") {
		t.Error("set up, and does not know what waits")
	}

	p := startProxy(t, s.URL())
	away := connect(t, s, overTCP(p.url))
	never := func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
	consumeLateReady(t, away, ConsumerConfig{}, never, func(context.Context, Delivery) Result { return Done() })
	eventually(t, "it has looked", func() bool { return away.nc.NumSubscriptions() > 1 && away.Ready() == nil })
	p.block()
	p.cut()
	eventually(t, "disconnected", func() bool { return !away.Connected() })
	missed := inPartition("07", 1)[0]
	deferEvent(t, b, delivery(missed, 2))
	p.unblock()
	eventually(t, "it knows what it missed", func() bool { return away.LateWaiting(missed) })
}

// The answer to a question says nothing about what was deferred after it was asked.
func TestAnOldAnswerDoesNotClearANewMark(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	p, _ := partition(messages.Partition("c"))
	b.late.mark(p)
	old := b.late.clock.Load()
	for _, waits := range []bool{true, false} { // the stream may not have stored it yet at the first look
		if err := b.late.look(within(t, patience)); err != nil {
			t.Fatal(err)
		}
		if b.LateWaiting("c") != waits {
			t.Fatalf("waiting: %t, want %t", !waits, waits)
		}
	}
	b.late.mark(p)
	if b.late.marks[p].Load() <= old {
		t.Error("the later mark does not have the higher number")
	}
	b.late.marks[p].Store(b.late.clock.Load() + 1) // as if it came between question and answer
	if err := b.late.look(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if !b.LateWaiting("c") {
		t.Error("the mark is gone")
	}
	b.late.marks[p].Store(0)
	b.late.inFlight[p].Add(1) // a deferral that is not confirmed
	if !b.LateWaiting("c") {
		t.Error("a deferral on its way does not count")
	}
}

func TestLateWaitingOfAnyCall(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for p := range b.late.marks {
		b.late.mark(p)
	}
	for n := range 200 {
		if !b.LateWaiting(fmt.Sprint(n)) {
			t.Fatalf("call %d belongs to no partition", n)
		}
	}
}
