package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

func consumeJobs(t testing.TB, b *Bus, c ConsumerConfig, handle func(messages.DialJob, int) JobResult) *running {
	t.Helper()
	return consume(t, func(ctx context.Context) error {
		return b.ConsumeJobs(ctx, c, func(_ context.Context, j messages.DialJob, attempt int) JobResult { return handle(j, attempt) })
	})
}

func job(id string) messages.DialJob {
	return messages.DialJob{Intent: messages.Intent{Schema: messages.IntentSchema, ID: id}}
}

func publishJob(t testing.TB, b *Bus, j messages.DialJob) {
	t.Helper()
	if err := b.PublishJob(within(t, patience), j); err != nil {
		t.Fatal(err)
	}
}

// parked waits for the one failure that must come.
func parked(t testing.TB, b *Bus) messages.Failure {
	t.Helper()
	eventually(t, "a failure is parked", func() bool { return streamInfo(t, b, messages.StreamFailed).State.Msgs > 0 })
	all := failures(t, b)
	if len(all) != 1 {
		t.Fatalf("%d failures, want 1: %+v", len(all), all)
	}
	return all[0]
}

func acked(t testing.TB, b *Bus, stream, consumer string, floor uint64) {
	t.Helper()
	eventually(t, "the message is acked", func() bool {
		i := consumerInfo(t, b, stream, consumer)
		return i.NumAckPending == 0 && i.AckFloor.Stream == floor
	})
}

// What cannot be read is parked, byte for byte, and the others go on.
func TestPoisonIsParkedAsItWas(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	poison := &nats.Msg{
		Subject: messages.EventSubject("c"),
		Header:  nats.Header{"X-Odd": {"one", "two"}, "Offhook-Kind": {"nonsense"}},
		Data:    []byte{0xff, 0, '{'},
	}
	if _, err := b.js.PublishMsg(within(t, patience), poison); err != nil {
		t.Fatal(err)
	}
	tell(t, b, event("healthy"))
	got := make(chan string, 1)
	consumeEvents(t, b, ConsumerConfig{}, func(d Delivery) Result { got <- d.CallID; return Done() })
	if c := receive(t, "the healthy event", got); c != "healthy" {
		t.Errorf("got %q", c)
	}
	f := parked(t, b)
	if f.Kind != messages.FailureEvent || f.Reason != messages.ReasonPoison || f.Attempts != 1 || f.Worker != "test" ||
		f.Subject != poison.Subject || f.Sequence != 1 || !bytes.Equal(f.Body, poison.Data) || time.Since(f.FailedAt) > patience {
		t.Errorf("got %+v", f)
	}
	if fmt.Sprint(f.Header["X-Odd"]) != "[one two]" || !strings.Contains(f.Error, "nonsense") {
		t.Errorf("headers %v, error %q", f.Header, f.Error)
	}
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, 2)
}

func TestAJobThatIsNotAJobIsParked(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	if _, err := b.js.Publish(within(t, patience), messages.JobSubject(messages.CampaignDirect, messages.ZoneAny), []byte(`{"intent":7}`)); err != nil {
		t.Fatal(err)
	}
	consumeJobs(t, b, ConsumerConfig{}, func(messages.DialJob, int) JobResult {
		t.Error("the handler saw it")
		return JobResult{Result: Done()}
	})
	f := parked(t, b)
	if f.Kind != messages.FailureJob || f.Reason != messages.ReasonPoison || string(f.Body) != `{"intent":7}` {
		t.Errorf("got %+v", f)
	}
	acked(t, b, messages.StreamJobs, messages.ConsumerDirect, 1)
}

// A panic is contained, parked with its stack, and stops nobody else.
func TestAPanicIsParkedWithItsStack(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	got := make(chan string, 1)
	consumeEvents(t, b, ConsumerConfig{Slots: 1}, func(d Delivery) Result {
		if d.CallID == "bad" {
			explode()
		}
		got <- d.CallID
		return Done()
	})
	tell(t, b, event("bad"))
	tell(t, b, event("good"))
	receive(t, "the event behind it", got)
	f := parked(t, b)
	if f.Reason != messages.ReasonPanic || !strings.Contains(f.Error, "panic: kaboom") || !strings.Contains(f.Error, "explode") {
		t.Errorf("got %s: %s", f.Reason, f.Error)
	}
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, 2)
}

func explode() { panic("kaboom") }

func TestAHandlerMayPark(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	consumeEvents(t, b, ConsumerConfig{}, func(Delivery) Result {
		return Park(messages.ReasonRejected, fmt.Errorf("outer: %w", errStoreDown))
	})
	tell(t, b, event("c"))
	if f := parked(t, b); f.Reason != messages.ReasonRejected || f.Error != "outer: the store is down" {
		t.Errorf("got %s: %s", f.Reason, f.Error)
	}
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, 1)
}

// When the attempts are used up the message is parked by the worker;
// JetStream's own limit would make it invisible.
func TestExhaustedDeliveriesAreParked(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	runs := make(chan int, 10)
	consumeEvents(t, b, ConsumerConfig{MaxAttempts: 3}, func(d Delivery) Result {
		runs <- d.Attempt
		return Retry(time.Millisecond, fmt.Errorf("attempt %d: %w", d.Attempt, errStoreDown))
	})
	tell(t, b, event("c"))
	for want := 1; want <= 3; want++ {
		if got := receive(t, "an attempt", runs); got != want {
			t.Errorf("attempt %d, want %d", got, want)
		}
	}
	f := parked(t, b)
	if f.Reason != messages.ReasonExhausted || f.Attempts != 3 || !strings.Contains(f.Error, "attempt 3: the store is down") {
		t.Errorf("got %+v", f)
	}
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, 1)
	receiveNone(t, "an attempt too many", runs)
}

// A message that kills its worker before any handler can count is
// parked by the number of its deliveries, without being handled again.
func TestAMessageThatKillsItsWorkersIsParkedUnhandled(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t), ackWaitOf(100*time.Millisecond))
	tell(t, b, event("c"))
	c, err := b.js.Consumer(within(t, patience), messages.StreamEvents, messages.ConsumerEvents)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 { // three workers that take it and never come back
		if _, err := c.Next(jetstream.FetchMaxWait(pullExpiry)); err != nil {
			t.Fatal(err)
		}
	}
	consumeEvents(t, b, ConsumerConfig{MaxAttempts: 3}, func(d Delivery) Result {
		t.Errorf("attempt %d was handled", d.Attempt)
		return Done()
	})
	if f := parked(t, b); f.Reason != messages.ReasonExhausted || f.Attempts != 4 || !strings.Contains(f.Error, "3 deliveries were used up") {
		t.Errorf("got %+v", f)
	}
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, 1)
}

// While the failed stream does not take it, a message must not be lost,
// whatever its number of deliveries. With a MaxDeliver on the consumer it would be.
func TestAMessageThatCannotBeParkedComesBackUntilItCan(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	if err := b.js.DeleteStream(within(t, patience), messages.StreamFailed); err != nil {
		t.Fatal(err)
	}
	attempts := make(chan int, 100)
	consumeEvents(t, b, ConsumerConfig{MaxAttempts: 2}, func(d Delivery) Result {
		attempts <- d.Attempt
		return Park(messages.ReasonRejected, errStoreDown)
	})
	tell(t, b, event("c"))
	receive(t, "first", attempts)
	receive(t, "second", attempts)
	eventually(t, "more deliveries than MaxAttempts", func() bool {
		i := consumerInfo(t, b, messages.StreamEvents, messages.ConsumerEvents)
		return i.Delivered.Consumer > 2 && i.NumAckPending == 1
	})
	if err := b.Setup(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if f := parked(t, b); f.Reason != messages.ReasonExhausted || f.Sequence != 1 {
		t.Errorf("got %+v", f)
	}
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, 1)
}

// A worker that parks a message and dies before the ack, or whose ack is lost, must
// not leave two failures: the message comes again and is parked again.
func TestParkingTwiceLeavesOneFailure(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.URL())
	b := connect(t, s, ackWaitOf(100*time.Millisecond))
	dying := connect(t, s, overTCP(p.url), ackWaitOf(100*time.Millisecond), func(c *Config) { c.Timeout = quiet })
	tell(t, b, event("c"))
	reject := func(Delivery) Result { return Park(messages.ReasonRejected, errStoreDown) }
	var mute sync.Once
	r := consumeEvents(t, dying, ConsumerConfig{}, func(d Delivery) Result {
		mute.Do(p.muteDown) // the failure is stored, and the worker never learns
		return reject(d)
	})
	parked(t, b)
	p.cut()
	r.end(t)
	consumeEvents(t, b, ConsumerConfig{}, reject)
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, 1)
	parked(t, b)
}

// Header blocks above 64 KiB cannot be stored; whoever sent one, it is parked.
func TestHugeHeadersAreParkedWithoutThem(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	huge := &nats.Msg{Subject: messages.EventSubject("c"), Header: nats.Header{"X-Huge": {strings.Repeat("x", 65_400)}}, Data: []byte("body")}
	if _, err := b.js.PublishMsg(within(t, patience), huge); err != nil {
		t.Fatal(err)
	}
	consumeEvents(t, b, ConsumerConfig{}, func(Delivery) Result { return Done() })
	f := parked(t, b)
	if f.Reason != messages.ReasonPoison || string(f.Body) != "body" || len(f.Header) != 0 || !strings.Contains(f.Error, "1 headers were too large") {
		t.Errorf("got %s, body %q, %d headers, %.100s", f.Reason, f.Body, len(f.Header), f.Error)
	}
}

// The largest message that the events stream takes fits the failed stream.
func TestWhatCanBeStoredCanBeParked(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	e := event("c")
	e.Body = bytes.Repeat([]byte("x"), maxMessage-1024)
	tell(t, b, e)
	consumeEvents(t, b, ConsumerConfig{}, func(Delivery) Result {
		return Park(messages.ReasonRejected, errors.New(strings.Repeat("ü", 20_000)))
	})
	if f := parked(t, b); len(f.Body) != len(e.Body) {
		t.Errorf("%d bytes were parked of %d", len(f.Body), len(e.Body))
	}
	e.Body = append(e.Body, make([]byte, 1024)...)
	if err := b.Tell(within(t, patience), e); messages.CodeOf(err) != messages.CodeTooLarge {
		t.Errorf("a larger one: got %v, want too_large", err)
	}
}

func TestParkFillsInWhoAndWhen(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	if err := b.Park(within(t, patience), messages.Failure{Kind: messages.FailureDial, Reason: messages.ReasonAmbiguous, Body: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if f := parked(t, b); f.Worker != "test" || f.FailedAt.IsZero() || f.Kind != messages.FailureDial {
		t.Errorf("got %+v", f)
	}
}

func TestAfterRunsOnceTheAckIsConfirmed(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	left := make(chan uint64, 1)
	consumeJobs(t, b, ConsumerConfig{}, func(j messages.DialJob, attempt int) JobResult {
		if j.Intent.ID != "job-1" || attempt != 1 {
			t.Errorf("job %q, attempt %d", j.Intent.ID, attempt)
		}
		return JobResult{Result: Done(), After: func(ctx context.Context) {
			left <- streamInfo(t, b, messages.StreamJobs).State.Msgs
		}}
	})
	publishJob(t, b, job("job-1"))
	if n := receive(t, "After", left); n != 0 {
		t.Errorf("%d jobs were in the queue when After ran, want 0", n)
	}
}

func TestAfterRunsForNothingButDone(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	runs := make(chan int, 10)
	consumeJobs(t, b, ConsumerConfig{}, func(_ messages.DialJob, attempt int) JobResult {
		runs <- attempt
		after := func(context.Context) { t.Error("After ran") }
		if attempt == 1 {
			return JobResult{Result: Retry(time.Millisecond, errStoreDown), After: after}
		}
		return JobResult{Result: Park(messages.ReasonRejected, errStoreDown), After: after}
	})
	publishJob(t, b, job("j"))
	parked(t, b)
	if n := len(runs); n != 2 {
		t.Errorf("%d runs, want 2", n)
	}
}

// No dial without the certainty that the job is gone. The ack may be
// lost on its way to the server, or its confirmation on the way back.
func TestWithoutAConfirmedAckAfterDoesNotRun(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		lose func(*proxy)
		left uint64 // jobs in the queue afterwards
	}{
		{"the ack is lost", (*proxy).muteUp, 1},
		{"the confirmation is lost", (*proxy).muteDown, 0},
		{"the connection is cut", (*proxy).cut, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := startServer(t)
			p := startProxy(t, s.URL())
			b := connect(t, s, overTCP(p.url), func(c *Config) { c.Timeout = quiet })
			watch := connect(t, s)
			publishJob(t, watch, job("j"))
			handled := make(chan struct{}, 1)
			r := consumeJobs(t, b, ConsumerConfig{}, func(messages.DialJob, int) JobResult {
				tt.lose(p)
				handled <- struct{}{}
				return JobResult{Result: Done(), After: func(context.Context) { t.Error("After ran without a confirmed ack") }}
			})
			receive(t, "the job", handled)
			r.stop()
			if tt.name != "the connection is cut" {
				receiveNone(t, "an end before the ack's time is over", r.done)
				p.cut()
			}
			r.end(t)
			if n := streamInfo(t, watch, messages.StreamJobs).State.Msgs; n != tt.left {
				t.Errorf("%d jobs are left, want %d", n, tt.left)
			}
		})
	}
}

func TestAPanicInAfterIsContainedAndParked(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	consumeJobs(t, b, ConsumerConfig{}, func(messages.DialJob, int) JobResult {
		return JobResult{Result: Done(), After: func(context.Context) { explode() }}
	})
	publishJob(t, b, job("j"))
	if f := parked(t, b); f.Kind != messages.FailureJob || f.Reason != messages.ReasonPanic || !strings.Contains(f.Error, "after its ack: panic: kaboom") {
		t.Errorf("got %+v", f)
	}
	if n := streamInfo(t, b, messages.StreamJobs).State.Msgs; n != 0 {
		t.Errorf("the job is back in the queue")
	}
}

func TestAfterIsCancelledWhenTheDrainTimeIsOver(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	started, causes := make(chan struct{}, 1), make(chan error, 1)
	r := consumeJobs(t, b, ConsumerConfig{Drain: 50 * time.Millisecond}, func(messages.DialJob, int) JobResult {
		return JobResult{Result: Done(), After: func(ctx context.Context) {
			started <- struct{}{}
			<-ctx.Done()
			causes <- context.Cause(ctx)
		}}
	})
	publishJob(t, b, job("j"))
	receive(t, "After", started)
	r.end(t)
	if err := receive(t, "the cause", causes); !errors.Is(err, errDrainOver) {
		t.Errorf("got %v", err)
	}
}
