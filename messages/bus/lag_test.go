package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

func TestLagIsWhatWaits(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	b := connect(t, s, ackWaitOf(100*time.Millisecond))
	if lag, err := b.Lag(within(t, patience)); err != nil || lag != (Lag{}) {
		t.Errorf("nothing waits: got %+v, %v", lag, err)
	}
	began := time.Now()
	for range 4 {
		tell(t, b, event("c"))
	}
	c, err := b.js.Consumer(within(t, patience), messages.StreamEvents, messages.ConsumerEvents)
	if err != nil {
		t.Fatal(err)
	}
	take := func() jetstream.Msg {
		m, err := c.Next(jetstream.FetchMaxWait(pullExpiry))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	if err := take().DoubleAck(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	firstTwo := [2]jetstream.Msg{take(), take()} // one of them comes again
	if err := firstTwo[1].DoubleAck(within(t, patience)); err != nil {
		t.Fatal(err)
	}
	if err := firstTwo[0].Nak(); err != nil {
		t.Fatal(err)
	}
	if err := b.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	take()
	deferEvent(t, b, delivery("c", 1))
	deferEvent(t, b, delivery("d", 2))
	if err := b.Park(within(t, patience), messages.Failure{Kind: messages.FailureEvent}); err != nil {
		t.Fatal(err)
	}

	lag, err := b.Lag(within(t, patience))
	if err != nil {
		t.Fatal(err)
	}
	for what, age := range map[string]time.Duration{"event": lag.Oldest, "event that nobody has seen": lag.Unseen, "deferred event": lag.LateOldest} {
		if age <= 0 || age > time.Since(began) {
			t.Errorf("the oldest %s is %s old", what, age)
		}
	}
	if lag.LateOldest >= lag.Oldest {
		t.Errorf("the oldest deferred event is %s old, the oldest event, from before it, %s", lag.LateOldest, lag.Oldest)
	}
	lag.Oldest, lag.LateOldest, lag.Unseen = 0, 0, 0
	if want := (Lag{Pending: 1, Unacked: 1, Redelivered: 1, Late: 2, Failed: 1}); lag != want {
		t.Errorf("got %+v, want %+v", lag, want)
	}

	if err := b.js.DeleteStream(within(t, patience), messages.StreamFailed); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Lag(within(t, patience)); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("without a stream: got %v, want unavailable", err)
	}
}

// The oldest event is found also when those before it have left the stream.
func TestLagLooksPastWhatIsGone(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	tell(t, b, event("c"))
	tell(t, b, event("c"))
	s, err := b.js.Stream(within(t, patience), messages.StreamEvents)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.DeleteMsg(within(t, patience), 1); err != nil {
		t.Fatal(err)
	}
	if lag, err := b.Lag(within(t, patience)); err != nil || lag.Oldest <= 0 {
		t.Errorf("got %+v, %v", lag, err)
	}
}
