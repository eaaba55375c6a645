package bus

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// sequences collects what was handled, per partition.
type sequences struct {
	mu  sync.Mutex
	all map[string][]uint64
	n   int
}

func (s *sequences) add(d Delivery) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = make(map[string][]uint64)
	}
	p := messages.Partition(d.CallID)
	s.all[p] = append(s.all[p], d.Sequence)
	s.n++
	return s.n
}

// inOrder fails the test unless there were want events, each once, and each partition's
// in order.
func (s *sequences) inOrder(t *testing.T, want int) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.n != want {
		t.Errorf("%d events were handled, want %d", s.n, want)
	}
	for p, all := range s.all {
		if !slices.IsSorted(all) {
			t.Errorf("partition %s: handled in the order %v", p, all)
		}
	}
}

func TestTheEventsOfAPartitionAreHandledInOrderAndPartitionsAtOnce(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	const calls, each = 40, 10
	for n := range calls * each {
		deferEvent(t, b, delivery(fmt.Sprintf("call-%d", n%calls), uint64(n)))
	}
	var got sequences
	var mu sync.Mutex
	busy := make(map[string]bool)
	var most, retries atomic.Int32
	consumeLate(t, b, ConsumerConfig{}, func(d Delivery) Result {
		p := messages.Partition(d.CallID)
		mu.Lock()
		if busy[p] {
			t.Errorf("two events of partition %s are handled at once", p)
		}
		busy[p] = true
		most.Store(max(most.Load(), int32(len(busy))))
		mu.Unlock()
		<-time.After(time.Millisecond)
		mu.Lock()
		delete(busy, p)
		mu.Unlock()
		if d.Sequence%37 == 5 && d.Attempt < 3 { // what is behind it waits
			retries.Add(1)
			return Retry(20*time.Millisecond, errStoreDown)
		}
		got.add(d)
		return Done()
	})
	drained(t, b)
	got.inOrder(t, calls*each)
	if most.Load() < 2 {
		t.Error("no two partitions were handled at once")
	}
	if s := b.Stats(); retries.Load() == 0 || s.Retried != uint64(retries.Load()) || s.Redelivered != 0 {
		t.Errorf("%d retries, %d counted, %d redeliveries", retries.Load(), s.Retried, s.Redelivered)
	}
}

func TestSlotsBoundTheLanesTogether(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	for n := range 60 {
		deferEvent(t, b, delivery(fmt.Sprintf("call-%d", n), uint64(n)))
	}
	var now, most atomic.Int32
	consumeLate(t, b, ConsumerConfig{Slots: 3}, func(Delivery) Result {
		most.Store(max(most.Load(), now.Add(1)))
		<-time.After(time.Millisecond)
		now.Add(-1)
		return Done()
	})
	drained(t, b)
	if most.Load() > 3 {
		t.Errorf("%d handlers ran at once, want at most 3", most.Load())
	}
}

// An outage uses up no deliveries, before and behind the first attempt.
func TestAnOutageBurnsNoDeliveries(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	const events = 200
	for n := range events {
		deferEvent(t, b, delivery(fmt.Sprintf("call-%d", n), uint64(n)))
	}
	var down atomic.Bool
	down.Store(true)
	asked, back := make(chan struct{}, 1000), make(chan struct{})
	ready := func(ctx context.Context) error {
		if !down.Load() {
			return nil
		}
		asked <- struct{}{}
		select {
		case <-back:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	var got sequences
	var again atomic.Bool
	consumeLateReady(t, b, ConsumerConfig{MaxAttempts: 2}, ready, func(_ context.Context, d Delivery) Result {
		if down.Load() {
			t.Errorf("handled while the store is away, attempt %d", d.Attempt)
		}
		if got.mu.Lock(); got.n == 50 && again.CompareAndSwap(false, true) {
			got.mu.Unlock()
			return Retry(time.Millisecond, errStoreDown)
		} else {
			got.mu.Unlock()
		}
		got.add(d)
		return Done()
	})
	for range messages.LateLanes {
		receive(t, "every lane asks", asked)
	}
	receiveNone(t, "a lane asks again", asked)
	for n := range messages.LateLanes {
		if i := consumerInfo(t, b, messages.StreamLate, laneName(n)); i.Delivered.Consumer != 0 {
			t.Errorf("lane %d delivered %d events while the store was away", n, i.Delivered.Consumer)
		}
	}
	down.Store(false)
	close(back)
	drained(t, b)
	got.inOrder(t, events)
	if s := b.Stats(); s.Redelivered != 0 || s.Parked != 0 {
		t.Errorf("%d redelivered, %d parked", s.Redelivered, s.Parked)
	}
}

func TestAReadyThatFailsIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	deferEvent(t, b, delivery("c", 1))
	var asked atomic.Int32
	ready := func(context.Context) error {
		if asked.Add(1) < 20 {
			return errStoreDown
		}
		return nil
	}
	got := make(chan int, 1)
	consumeLateReady(t, b, ConsumerConfig{}, ready, func(_ context.Context, d Delivery) Result { got <- d.Attempt; return Done() })
	if attempt := receive(t, "the event", got); attempt != 1 {
		t.Errorf("attempt %d", attempt)
	}
}

func TestWhatTheLateLaneCannotHandleIsParkedAndTheRestGoesOn(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		handle   func(Delivery) Result
		reason   messages.FailureReason
		attempts int
		says     string
	}{
		{"panic", func(Delivery) Result { explode(); return Done() }, messages.ReasonPanic, 1, "explode"},
		{"rejected", func(Delivery) Result { return Park(messages.ReasonRejected, errStoreDown) }, messages.ReasonRejected, 1, "the store is down"},
		{"exhausted", func(d Delivery) Result {
			return Retry(time.Millisecond, fmt.Errorf("attempt %d: %w", d.Attempt, errStoreDown))
		}, messages.ReasonExhausted, 3, "attempt 3: the store is down"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			b := connect(t, startServer(t))
			calls := inPartition("11", 2)
			deferEvent(t, b, delivery(calls[0], 1))
			deferEvent(t, b, delivery(calls[1], 2))
			got := make(chan uint64, 10)
			consumeLate(t, b, ConsumerConfig{MaxAttempts: 3}, func(d Delivery) Result {
				if d.Sequence == 1 {
					return tt.handle(d)
				}
				got <- d.Sequence
				return Done()
			})
			receive(t, "the event behind it", got)
			f := parked(t, b)
			if f.Reason != tt.reason || f.Attempts != tt.attempts || f.Kind != messages.FailureEvent || f.Sequence != 1 || f.Subject != "offhook.late.11" || !strings.Contains(f.Error, tt.says) {
				t.Errorf("got %+v", f)
			}
			if e, err := messages.ParseEnvelope(f.Header, f.Body); err != nil || e.EventID != calls[0]+"-1" || e.Sequence != 1 {
				t.Errorf("read back as %+v, %v", e, err)
			}
			drained(t, b)
		})
	}
}

func TestPoisonInTheLateLaneIsParked(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	if _, err := b.js.PublishMsg(within(t, patience), &nats.Msg{Subject: messages.LateSubject("c"), Data: []byte{0xff}}); err != nil {
		t.Fatal(err)
	}
	consumeLate(t, b, ConsumerConfig{}, func(Delivery) Result { t.Error("the handler saw it"); return Done() })
	if f := parked(t, b); f.Reason != messages.ReasonPoison || len(f.Body) != 1 {
		t.Errorf("got %+v", f)
	}
	drained(t, b)
}

// The watchdog: a lane whose consumer is gone, and a server that restarts.
func TestTheLanesSurviveTheLossOfTheirConsumersAndOfNATS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServerAt(t, dir, "127.0.0.1:0")
	b := connect(t, s, overTCP(s.URL()))
	got := make(chan uint64, 100)
	consumeLate(t, b, ConsumerConfig{}, func(d Delivery) Result { got <- d.Sequence; return Done() })
	deferEvent(t, b, delivery("c", 1))
	receive(t, "before", got)
	p, _ := partition(messages.Partition("c"))
	if err := b.js.DeleteConsumer(within(t, patience), messages.StreamLate, laneName(p%messages.LateLanes)); err != nil {
		t.Fatal(err)
	}
	deferEvent(t, b, delivery("c", 2))
	began := time.Now()
	for receive(t, "behind the loss of the consumer", got) != 2 {
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the consumer was back after %s", took)
	}

	drained(t, b) // an ack that is lost with the server would cost an ack-wait
	s.Close()
	eventually(t, "disconnected", func() bool { return !b.Connected() })
	startServerAt(t, dir, strings.TrimPrefix(s.URL(), "nats://"))
	eventually(t, "reconnected", func() bool { return b.Ready() == nil })
	deferEvent(t, b, delivery("c", 3))
	began = time.Now()
	for receive(t, "after the restart", got) != 3 {
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the lane went on %s after the restart", took)
	}
	drained(t, b)
}

func TestConsumeLateEndsWithAnErrorWhenTheBusIsClosedUnderIt(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	done := make(chan error, 1)
	go func() {
		done <- b.ConsumeLate(context.Background(), ConsumerConfig{}, always, func(context.Context, Delivery) Result { return Done() })
	}()
	if err := b.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := receive(t, "the end of the loop", done); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v", err)
	}
	if err := b.ConsumeLate(t.Context(), ConsumerConfig{Slots: -1}, nil, nil); messages.CodeOf(err) != messages.CodeUsage {
		t.Errorf("a wrong configuration: %v", err)
	}
}

// The limits of the lanes' consumers hold for whoever pulls.
func TestTheServerRefusesGreedyPullsOnALane(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	c, err := b.js.Consumer(within(t, patience), messages.StreamLate, laneName(0))
	if err != nil {
		t.Fatal(err)
	}
	for name, pull := range map[string]func() (jetstream.MessageBatch, error){
		"large": func() (jetstream.MessageBatch, error) {
			return c.Fetch(laneBatch+1, jetstream.FetchMaxWait(time.Second), jetstream.FetchPriorityGroup(laneGroup))
		},
		"long": func() (jetstream.MessageBatch, error) {
			return c.Fetch(1, jetstream.FetchMaxWait(2*laneIdle-time.Second), jetstream.FetchPriorityGroup(laneGroup))
		},
		"unpinned": func() (jetstream.MessageBatch, error) {
			return c.Fetch(1, jetstream.FetchMaxWait(time.Second), jetstream.FetchPriorityGroup("other"))
		},
	} {
		batch, err := pull()
		if err != nil {
			t.Fatal(err)
		}
		for range batch.Messages() {
		}
		if batch.Error() == nil {
			t.Errorf("a pull that is %s was accepted", name)
		}
	}
}
