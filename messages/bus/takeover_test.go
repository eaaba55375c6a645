package bus

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// An event that takes longer than ack-wait stays with its handler, and what is behind
// it stays too.
func TestASlowEventKeepsItsPartition(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	first, second := connect(t, s), connect(t, s)
	calls := inPartition("12", 1)
	for n := range 20 {
		deferEvent(t, first, delivery(calls[0], uint64(n)))
	}
	var got sequences
	var slow atomic.Bool
	handle := func(d Delivery) Result {
		if slow.CompareAndSwap(false, true) {
			<-time.After(laneAckWait + lanePinned)
		}
		got.add(d)
		return Done()
	}
	consumeLate(t, first, ConsumerConfig{}, handle)
	consumeLate(t, second, ConsumerConfig{}, handle)
	drained(t, first)
	got.inOrder(t, 20)
	if a, b := first.Stats(), second.Stats(); a.Redelivered+b.Redelivered != 0 {
		t.Errorf("%d were redelivered", a.Redelivered+b.Redelivered)
	}
}

// A worker that dies (kill -9) or is stopped (SIGSTOP) with a partition in hand: another
// goes on within a few seconds, where it was, in order.
func TestAnotherWorkerGoesOnWithALane(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  syscall.Signal
	}{{"killed", syscall.SIGKILL}, {"stopped", syscall.SIGSTOP}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			b := connect(t, s, ackWaitOf(stoppedAckWait))
			const events = 200
			call := inPartition("13", 1)[0]
			for n := range events {
				deferEvent(t, b, delivery(call, uint64(n)))
			}
			w := startWorker(t, s.URL(), childLate+"=1")
			handled := 0
			for ; handled < 5; handled++ {
				if line := receive(t, "the worker's event", w.lines); line != fmt.Sprintf("handled %s-%d", call, handled) {
					t.Fatalf("event %d: got %q", handled, line)
				}
			}
			var got sequences
			consumeLate(t, b, ConsumerConfig{}, func(d Delivery) Result { got.add(d); return Done() })
			if line := receive(t, "the worker goes on beside another", w.lines); line != fmt.Sprintf("handled %s-%d", call, handled) {
				t.Fatalf("got %q", line)
			}
			w.signal(t, tt.end)
			began := time.Now()
			drained(t, b)
			t.Logf("drained by the other worker after %s", time.Since(began))
			if took := time.Since(began); took > laneAckWait+lanePinned+time.Second {
				t.Errorf("it took %s", took)
			}

			if tt.end == syscall.SIGSTOP {
				w.signal(t, syscall.SIGCONT)
				if err := w.in.Close(); err != nil {
					t.Fatal(err)
				}
			}
			before := -1
			both := 0
			for line := range w.lines {
				if n, ok := strings.CutPrefix(line, "handled "+call+"-"); ok {
					if _, err := fmt.Sscan(n, &before); err != nil {
						t.Fatal(err)
					}
				}
			}
			_ = w.Wait() // killed, or done
			got.mu.Lock()
			defer got.mu.Unlock()
			all := got.all["13"]
			for _, n := range all {
				if int(n) <= before {
					both++
				}
			}
			if both > 1 { // the one that was in work when it was stopped
				t.Errorf("%d events were handled by both", both)
			}
			if !slices.IsSorted(all) || len(all) == 0 || all[len(all)-1] != events-1 || len(all) != int(events-all[0]) {
				t.Errorf("handled here: %v", all)
			}
			if s := b.Stats().Redelivered; s == 0 || s > laneHand {
				t.Errorf("%d redelivered, want what the other had in hand", s)
			}
		})
	}
}

// A rolling restart: the lane goes to the next worker at once, in order, and nothing is
// handled twice.
func TestALaneIsHandedOverAtShutdown(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	const events = 400
	call := inPartition("14", 1)[0]
	for n := range events {
		deferEvent(t, b, delivery(call, uint64(n)))
	}
	var got sequences
	enough := make(chan struct{})
	first := consumeLate(t, b, ConsumerConfig{}, func(d Delivery) Result {
		<-time.After(time.Millisecond)
		if got.add(d) == 50 {
			close(enough)
		}
		return Done()
	})
	receive(t, "a start", enough)
	after := make(chan time.Time, events)
	consumeLate(t, connect(t, s), ConsumerConfig{}, func(d Delivery) Result {
		after <- time.Now()
		got.add(d)
		return Done()
	})
	first.end(t)
	ended := time.Now()
	if at := receive(t, "the next worker's first event", after); at.Sub(ended) > lanePinned/2 {
		t.Errorf("the next worker went on after %s", at.Sub(ended))
	}
	drained(t, b)
	got.inOrder(t, events)
}

// At shutdown what waits for its retry is handed back, and everything behind it as well.
func TestWhatWaitsForItsRetryIsHandedBackInOrder(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	call := inPartition("15", 1)[0]
	for n := range 30 {
		deferEvent(t, b, delivery(call, uint64(n)))
	}
	waiting := make(chan struct{}, 1)
	first := consumeLate(t, b, ConsumerConfig{}, func(d Delivery) Result {
		if d.Sequence != 0 {
			t.Errorf("event %d was handled ahead", d.Sequence)
		}
		waiting <- struct{}{}
		return Retry(time.Hour, errStoreDown)
	})
	receive(t, "the first attempt", waiting)
	first.end(t)
	var got sequences
	next := connect(t, s)
	consumeLate(t, next, ConsumerConfig{}, func(d Delivery) Result { got.add(d); return Done() })
	drained(t, b)
	got.inOrder(t, 30)
	if n := b.Stats().Redelivered; n != 0 {
		t.Errorf("%d were handed back to the one who hands them back", n)
	}
	if next.Stats().Redelivered == 0 { // how often each came depends on how busy the machine is
		t.Error("nothing came again of what had been in hand")
	}
}

func TestTheDrainTimeEndsALaneToo(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	call := inPartition("16", 1)[0]
	for n := range 10 {
		deferEvent(t, b, delivery(call, uint64(n)))
	}
	started, causes := make(chan struct{}, 10), make(chan error, 10)
	r := consumeLateReady(t, b, ConsumerConfig{Drain: 50 * time.Millisecond}, always, func(ctx context.Context, _ Delivery) Result {
		started <- struct{}{}
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return Retry(0, ctx.Err())
	})
	receive(t, "start", started)
	r.end(t)
	if err := receive(t, "the cause", causes); !errors.Is(err, errDrainOver) {
		t.Errorf("cancelled because of %v", err)
	}
	receiveNone(t, "the start of another", started)
	var got sequences
	consumeLate(t, b, ConsumerConfig{}, func(d Delivery) Result { got.add(d); return Done() })
	drained(t, b)
	got.inOrder(t, 10)
}

// Pinning: however many workers, one at a time has a lane, and a waiting one gets
// nothing of it.
func TestALaneBelongsToOneWorkerAtATime(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s)
	call := inPartition("17", 1)[0]
	const events = 300
	var mu sync.Mutex
	owners := make(map[int]int)
	var got sequences
	for n := range 3 {
		consumeLate(t, connect(t, s), ConsumerConfig{}, func(d Delivery) Result {
			mu.Lock()
			owners[n]++
			mu.Unlock()
			got.add(d)
			return Done()
		})
	}
	for n := range events {
		deferEvent(t, b, delivery(call, uint64(n)))
	}
	drained(t, b)
	got.inOrder(t, events)
	mu.Lock()
	defer mu.Unlock()
	if len(owners) != 1 {
		t.Errorf("the lane was with %v", owners)
	}
}
