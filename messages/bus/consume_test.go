package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offhook/offhook/messages"
)

// running is a consume loop under test.
type running struct {
	stop context.CancelFunc
	done chan error
}

// consumeEvents runs a loop until the test ends; the test fails if the loop does.
func consumeEvents(t testing.TB, b *Bus, c ConsumerConfig, handle func(Delivery) Result) *running {
	t.Helper()
	return consumeEventsCtx(t, b, c, func(_ context.Context, d Delivery) Result { return handle(d) })
}

func consumeEventsCtx(t testing.TB, b *Bus, c ConsumerConfig, handle func(context.Context, Delivery) Result) *running {
	t.Helper()
	return consume(t, func(ctx context.Context) error { return b.ConsumeEvents(ctx, c, handle) })
}

func consume(t testing.TB, run func(context.Context) error) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{stop: cancel, done: make(chan error, 1)}
	go func() { r.done <- run(ctx) }()
	t.Cleanup(func() { r.end(t) })
	return r
}

// end stops the loop and waits for it. It may be called again.
func (r *running) end(t testing.TB) {
	t.Helper()
	r.stop()
	if err := receive(t, "the end of the loop", r.done); err != nil {
		t.Errorf("the loop ended with %v", err)
	}
	r.done <- nil
}

var errStoreDown = errors.New("the store is down")

func TestADeliveryIsTheEnvelopeAsPublished(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	e := event("call/1 with spaces")
	e.Deadline, e.Trace = e.Arrived.Add(time.Second), "00-trace-01"
	tell(t, b, e)
	got := make(chan Delivery, 1)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result { got <- d; return Done() })

	d := receive(t, "the delivery", got)
	if d.EventID != e.EventID || d.CallID != e.CallID || d.Event != e.Event || d.Trace != e.Trace || !bytes.Equal(d.Body, e.Body) {
		t.Errorf("got %+v, want %+v", d.Envelope, e)
	}
	if d.Attempt != 1 || d.Sequence != 1 || time.Since(d.Stored) > patience || d.Stored.After(time.Now()) {
		t.Errorf("attempt %d, sequence %d, stored %s", d.Attempt, d.Sequence, d.Stored)
	}
	eventually(t, "acked", func() bool {
		i := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents)
		return i.AckFloor.Stream == 1 && i.NumAckPending == 0
	})
}

// With two workers whose handlers are slower than ack-wait, prefetched
// messages would expire in the buffer of one and be handled by the other as well.
func TestSlowHandlersOnTwoWorkersHandleEveryEventOnce(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	const ackWait, slots, events = 200 * time.Millisecond, 4, 16
	var mu sync.Mutex
	handled := make(map[string]int)
	var now, most atomic.Int32
	all := make(chan struct{}, events*2)
	slow := func(d Delivery) Result {
		most.Store(max(most.Load(), now.Add(1)))
		<-time.After(2 * ackWait) // what is slow is the handler, not the test
		now.Add(-1)
		mu.Lock()
		handled[d.EventID]++
		mu.Unlock()
		all <- struct{}{}
		return Done()
	}
	first := connect(t, s, ackWaitOf(ackWait))
	for range events {
		tell(t, first, event("c"))
	}
	for _, b := range []*Bus{first, connect(t, s, ackWaitOf(ackWait))} {
		consumeEvents(t, b, ConsumerConfig{Slots: slots}, slow)
	}
	for range events {
		receive(t, "every event", all)
	}
	receiveNone(t, "a second run of an event", all)
	if len(handled) != events {
		t.Errorf("%d events were handled, want %d", len(handled), events)
	}
	if most.Load() > 2*slots {
		t.Errorf("%d handlers ran at once, want at most %d", most.Load(), 2*slots)
	}
}

func TestNothingIsFetchedWithoutAFreeSlot(t *testing.T) {
	t.Parallel()
	for _, slots := range []int{1, 3, 11} {
		t.Run(fmt.Sprint(slots), func(t *testing.T) {
			t.Parallel()
			b := connect(t, startServer(t))
			for range 30 {
				tell(t, b, event("c"))
			}
			started, goOn := make(chan struct{}, 30), make(chan struct{})
			r := consumeEvents(t, b, ConsumerConfig{Slots: slots}, func(Delivery) Result {
				started <- struct{}{}
				<-goOn
				return Done()
			})
			defer r.end(t)
			defer close(goOn)
			for range slots {
				receive(t, "as many as there are slots", started)
			}
			receiveNone(t, "one more than there are slots", started)
			if i := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents); i.NumAckPending != slots || i.NumWaiting != 0 {
				t.Errorf("the server has %d messages out and %d pulls waiting, want %d and 0", i.NumAckPending, i.NumWaiting, slots)
			}
		})
	}
}

func TestRetryComesBackAfterItsDelay(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	const delay = 100 * time.Millisecond
	type run struct {
		attempt int
		at      time.Time
	}
	runs := make(chan run, 3)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result {
		runs <- run{d.Attempt, time.Now()}
		switch d.Attempt {
		case 1:
			return Retry(delay, errStoreDown)
		case 2:
			return Result{} // the zero Result retries, with the loop's own delay
		}
		return Done()
	})
	tell(t, b, event("c"))
	one, two, three := receive(t, "first", runs), receive(t, "second", runs), receive(t, "third", runs)
	if two.attempt != 2 || three.attempt != 3 {
		t.Errorf("attempts %d and %d, want 2 and 3", two.attempt, three.attempt)
	}
	if d := two.at.Sub(one.at); d < delay*9/10 {
		t.Errorf("the second came after %s, want %s", d, delay)
	}
	if d := three.at.Sub(two.at); d < 150*time.Millisecond {
		t.Errorf("the third came after %s, want the loop's delay", d)
	}
	if n := b.Stats().Retried; n != 2 {
		t.Errorf("counted %d retries, want 2", n)
	}
}

// A bare nak burns the deliveries in milliseconds. One second without
// the store must not park anything.
func TestAOneSecondOutageParksNothing(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	const events = 20
	back := time.Now().Add(time.Second)
	finished := make(chan int, events)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result {
		if time.Now().Before(back) {
			return Retry(0, errStoreDown)
		}
		finished <- d.Attempt
		return Done()
	})
	for range events {
		tell(t, b, event("c"))
	}
	for range events {
		if attempt := receive(t, "the event", finished); attempt > 5 {
			t.Errorf("one second took %d deliveries", attempt)
		}
	}
	if n := b.Stats().Parked; n != 0 {
		t.Errorf("%d were parked", n)
	}
}

// An outage of sixty seconds and more, by arithmetic: what the loop's delays add
// up to before the attempts are used up, with all the jitter against us.
func TestSixtySecondsOfOutageFitIntoTheAttempts(t *testing.T) {
	t.Parallel()
	attempts := ConsumerConfig{}.WithDefaults().MaxAttempts
	shortest := time.Hour
	for range 1000 {
		var total time.Duration
		for attempt := 1; attempt < attempts; attempt++ {
			d := retryDelay(attempt)
			if d < 200*time.Millisecond || d > 36*time.Second {
				t.Fatalf("attempt %d: delay %s", attempt, d)
			}
			total += d
		}
		shortest = min(shortest, total)
	}
	if shortest < 5*time.Minute {
		t.Errorf("%d attempts last only %s", attempts, shortest)
	}
}

func TestDrainFinishesWhatIsRunningAndLeavesNothingUnacked(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	var said lockedBuffer
	b.log = slog.New(slog.NewTextHandler(&said, nil))
	const slots = 4
	started, goOn := make(chan string, 20), make(chan struct{})
	cancelled := make(chan error, slots)
	r := consumeEventsCtx(t, b, ConsumerConfig{Slots: slots, Drain: patience, Hold: patience}, func(ctx context.Context, d Delivery) Result {
		started <- d.EventID
		<-goOn
		cancelled <- ctx.Err()
		return Done()
	})
	for range 20 {
		tell(t, b, event("call-7"))
	}
	id := receive(t, "start", started)
	for range slots - 1 {
		receive(t, "start", started)
	}
	r.stop()
	receiveNone(t, "an end while handlers run", r.done)
	eventually(t, "it says what it waits for", func() bool {
		return strings.Contains(said.String(), id) && strings.Contains(said.String(), "call-7")
	})
	close(goOn)
	r.end(t)
	for range slots {
		if err := receive(t, "handler's context", cancelled); err != nil {
			t.Errorf("the end of intake ended a handler's context: %v", err)
		}
	}
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "nothing is un-acked", func() bool {
		i := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents)
		return i.NumAckPending == 0 && i.NumPending == 20-slots
	})
	receiveNone(t, "a handler started after the end of intake", started)
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.String()
}

func TestDrainCancelsHandlersWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	started, cancelled := make(chan struct{}, 2), make(chan error, 2)
	r := consumeEventsCtx(t, b, ConsumerConfig{Drain: 50 * time.Millisecond, Hold: patience}, func(ctx context.Context, d Delivery) Result {
		started <- struct{}{}
		<-ctx.Done()
		cancelled <- context.Cause(ctx)
		return Retry(time.Millisecond, ctx.Err())
	})
	tell(t, b, event("c"))
	receive(t, "start", started)
	r.end(t)
	if err := receive(t, "the cause", cancelled); !errors.Is(err, errDrainOver) {
		t.Errorf("cancelled because of %v, want %v", err, errDrainOver)
	}
	again := make(chan int, 1)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result { again <- d.Attempt; return Done() })
	if n := receive(t, "the nakked event", again); n != 2 {
		t.Errorf("attempt %d, want 2: it was handed back", n)
	}
}

// A handler that hangs does not keep its message for ever: when its time is over,
// its context is cancelled and the message goes to somebody else after ack-wait.
func TestAHangingHandlerLosesItsMessageWhenItsTimeIsOver(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t), ackWaitOf(200*time.Millisecond))
	const hold = 600 * time.Millisecond
	began := make(chan time.Time, 1)
	causes, second := make(chan error, 1), make(chan time.Time, 1)
	goOn := make(chan struct{})
	r := consumeEventsCtx(t, b, ConsumerConfig{Hold: hold}, func(ctx context.Context, d Delivery) Result {
		if d.Attempt > 1 {
			second <- time.Now()
			return Done()
		}
		began <- time.Now()
		<-ctx.Done()
		causes <- context.Cause(ctx)
		<-goOn // deaf to its context
		return Done()
	})
	defer r.end(t)
	defer close(goOn)
	tell(t, b, event("c"))
	start := receive(t, "start", began)
	if err := receive(t, "cause", causes); !errors.Is(err, errHoldOver) {
		t.Errorf("cancelled because of %v, want %v", err, errHoldOver)
	}
	if after := receive(t, "second delivery", second).Sub(start); after < hold {
		t.Errorf("it was redelivered after %s, in the time of its handler", after)
	}
}

// NATS, one node of it, restarts under a running loop.
func TestTheLoopSurvivesARestartOfNATS(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := startServerAt(t, dir, "127.0.0.1:0")
	b := connect(t, s, overTCP(s.URL()))
	got := make(chan string, 10)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result { got <- d.CallID; return Done() })
	tell(t, b, event("before"))
	if c := receive(t, "before", got); c != "before" {
		t.Fatalf("got %q", c)
	}
	before := b.nc.NumSubscriptions()
	s.Close()
	eventually(t, "disconnected", func() bool { return !b.nc.IsConnected() })

	startServerAt(t, dir, strings.TrimPrefix(s.URL(), "nats://"))
	eventually(t, "reconnected", func() bool { return b.Ready() == nil })
	tell(t, b, event("after"))
	if c := receive(t, "after", got); c != "after" {
		t.Errorf("got %q", c)
	}
	// The pull that was open when NATS went may still hold its subscription for 1.5 s.
	if n := b.nc.NumSubscriptions(); n > before+pullsInFlight {
		t.Errorf("%d subscriptions before, %d after", before, n)
	}
}

// A consumer that is gone is made again, with everything that was
// not acked.
func TestTheLoopMakesItsConsumerAgain(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	got := make(chan string, 10)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result { got <- d.CallID; return Done() })
	tell(t, b, event("before"))
	receive(t, "before", got)
	if err := b.js.DeleteConsumer(within(t, patience), messages.StreamEvents, messages.ConsumerEvents); err != nil {
		t.Fatal(err)
	}
	tell(t, b, event("after"))
	for receive(t, "after", got) != "after" {
	}
}

func TestTheLoopEndsWithAnErrorWhenTheBusIsClosedUnderIt(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	done := make(chan error, 1)
	go func() {
		done <- b.ConsumeEvents(context.Background(), ConsumerConfig{}, func(context.Context, Delivery) Result { return Done() })
	}()
	if err := b.Close(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	err := receive(t, "the end of the loop", done)
	if messages.CodeOf(err) != messages.CodeUnavailable || !errors.Is(err, nats.ErrConnectionClosed) && !errors.Is(err, nats.ErrConnectionDraining) {
		t.Errorf("got %v", err)
	}
}

func TestConsumeRefusesAWrongConfiguration(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	err := b.ConsumeEvents(t.Context(), ConsumerConfig{Slots: -1}, nil)
	if messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(fmt.Sprint(err), "Slots") {
		t.Errorf("got %v", err)
	}
}

// Start and stop under load: whatever the moment, every event is handled, none is
// left un-acked, and nothing keeps running (goleak).
func TestStartAndStopUnderLoad(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	const rounds, each = 10, 20
	var handled atomic.Int32
	for round := range rounds {
		r := consumeEvents(t, b, ConsumerConfig{Slots: 1 + round}, func(Delivery) Result { handled.Add(1); return Done() })
		for range each {
			tell(t, b, event("c"))
		}
		r.end(t)
	}
	consumeEvents(t, b, ConsumerConfig{}, func(Delivery) Result { handled.Add(1); return Done() })
	eventually(t, "everything is acked", func() bool {
		i := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents)
		return i.AckFloor.Stream == rounds*each && i.NumAckPending == 0
	})
	if n := handled.Load(); n != rounds*each {
		t.Errorf("%d runs for %d events", n, rounds*each)
	}
}
