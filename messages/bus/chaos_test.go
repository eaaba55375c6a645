package bus

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

// Whatever handlers answer, and however often the workers' connections break: every
// event ends finished or in the failed stream, and none is left over.
func TestNothingIsLostWhateverHandlersAndConnectionsDo(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := &lockedRand{r: rand.New(rand.NewPCG(seed, 0))}

	s := startServer(t)
	b := connect(t, s, ackWaitOf(200*time.Millisecond))
	const events = 150
	var mu sync.Mutex
	finished := make(map[string]bool)
	for range 2 {
		p := startProxy(t, s.URL())
		worker := connect(t, s, overTCP(p.url), ackWaitOf(200*time.Millisecond), func(c *Config) { c.Timeout = time.Second })
		consumeEventsCtx(t, worker, ConsumerConfig{Slots: 5, Hold: 300 * time.Millisecond, MaxAttempts: 6}, func(ctx context.Context, d Delivery) Result {
			if random.n(60) == 0 {
				p.cut()
			}
			switch random.n(10) {
			case 0, 1, 2:
				return Retry(time.Duration(random.n(50))*time.Millisecond, errStoreDown)
			case 3:
				return Park(messages.ReasonRejected, errStoreDown)
			case 4:
				explode()
			case 5:
				<-ctx.Done() // hangs until its time is over
				return Retry(time.Millisecond, ctx.Err())
			}
			mu.Lock()
			finished[d.EventID] = true
			mu.Unlock()
			return Done()
		})
	}
	var published []string
	for len(published) < events {
		e := event("c")
		tell(t, b, e)
		published = append(published, e.EventID)
	}
	acked(t, b, messages.StreamEvents, messages.ConsumerEvents, events)

	failed := make(map[string]bool)
	for _, f := range failures(t, b) {
		e, err := messages.ParseEnvelope(f.Header, f.Body)
		if err != nil {
			t.Fatalf("a failure cannot be read back: %v", err)
		}
		if failed[e.EventID] {
			t.Errorf("event %s was parked twice", e.EventID)
		}
		failed[e.EventID] = true
	}
	mu.Lock()
	defer mu.Unlock()
	for _, id := range published {
		if !finished[id] && !failed[id] {
			t.Errorf("event %s is nowhere", id)
		}
	}
	t.Logf("%d finished, %d parked of %d", len(finished), len(failed), events)
}

// The same for the late lane, whose order must hold as well: when an event is finished
// for the first time, everything of its partition that came before it is.
func TestTheLateLaneLosesNothingAndKeepsItsOrderWhateverHappens(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := &lockedRand{r: rand.New(rand.NewPCG(seed, 0))}

	s := startServer(t)
	b := connect(t, s)
	const events = 600
	calls := append(inPartition("20", 2), inPartition("21", 2)...)
	calls = append(calls, inPartition("28", 1)...) // of the same lane as 20
	published := make(map[uint64]bool)
	for n := range uint64(events) {
		deferEvent(t, b, delivery(calls[random.n(len(calls))], n))
		published[n] = true
	}
	var mu sync.Mutex
	finished := make(map[uint64]bool)
	var first sequences
	var cuts int
	for range 2 {
		p := startProxy(t, s.URL())
		worker := connect(t, s, overTCP(p.url), func(c *Config) { c.Timeout = time.Second })
		consumeLate(t, worker, ConsumerConfig{Slots: 5, MaxAttempts: 8}, func(d Delivery) Result {
			mu.Lock()
			if cuts < 2 && random.n(150) == 0 {
				cuts++
				p.cut()
			}
			mu.Unlock()
			switch d.Sequence % 20 { // what is parked is out of the order, so it is parked each time
			case 2:
				return Park(messages.ReasonRejected, errStoreDown)
			case 3:
				explode()
			}
			if random.n(10) == 0 {
				return Retry(time.Duration(random.n(20))*time.Millisecond, errStoreDown)
			}
			mu.Lock()
			defer mu.Unlock()
			if !finished[d.Sequence] {
				finished[d.Sequence] = true
				first.add(d)
			}
			return Done()
		})
	}
	drained(t, b)
	first.inOrder(t, len(finished))
	failed := make(map[uint64]bool)
	for _, f := range failures(t, b) {
		e, err := messages.ParseEnvelope(f.Header, f.Body)
		if err != nil {
			t.Fatal(err)
		}
		if failed[e.Sequence] {
			t.Errorf("event %d was parked twice", e.Sequence)
		}
		failed[e.Sequence] = true
	}
	mu.Lock()
	defer mu.Unlock()
	for n := range published {
		if !finished[n] && !failed[n] {
			t.Errorf("event %d is nowhere", n)
		}
	}
	t.Logf("%d finished, %d parked of %d; %d cuts", len(finished), len(failed), events, cuts)
}

// Each ask gets exactly one word about its event, also when the connection breaks
// over and over.
func TestEveryAskHearsWhetherItsEventIsStored(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	p := startProxy(t, s.URL())
	b := connect(t, s, overTCP(p.url))
	watch := connect(t, s)
	var asks sync.WaitGroup
	var mu sync.Mutex
	var storedCount, lost, refused int
	for n := range 400 {
		if n%20 == 0 {
			asks.Wait()
		}
		if n%80 == 50 {
			p.cut()
		}
		a, err := b.Ask(event("c"))
		if err != nil {
			if messages.CodeOf(err) != messages.CodeUnavailable {
				t.Errorf("ask: %v", err)
			}
			refused++
			eventually(t, "reconnected", func() bool { return b.Ready() == nil })
			continue
		}
		asks.Go(func() {
			defer a.Close()
			err := receive(t, "word", a.Stored)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				storedCount++
			} else if errors.Is(err, errLost) {
				lost++
			} else {
				t.Errorf("stored: %v", err)
			}
		})
	}
	asks.Wait()
	if n := int(streamInfo(t, watch, messages.StreamEvents).State.Msgs); n < storedCount || n > storedCount+lost {
		t.Errorf("%d events are in the stream; %d were confirmed, %d are uncertain", n, storedCount, lost)
	}
	if open := b.Stats().Asks; open != 0 {
		t.Errorf("%d asks are left open", open)
	}
	t.Logf("%d stored, %d uncertain, %d refused", storedCount, lost, refused)
}

type lockedRand struct {
	mu sync.Mutex
	r  *rand.Rand
}

func (l *lockedRand) n(n int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.IntN(n)
}
