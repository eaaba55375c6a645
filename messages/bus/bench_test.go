package bus

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
)

// BenchmarkAskReply is one event through the stream, to a worker and its reply back,
// and reports how many times a core NATS request-reply of the same size on the same
// connections takes: the price of durability.
//
// What is fixed is the ratio, not the time: both change with the machine.
func BenchmarkAskReply(b *testing.B) {
	s := startServer(b)
	ingress, worker := connect(b, s, overTCP(s.URL())), connect(b, s, overTCP(s.URL()))
	answer(b, worker)
	core := coreRequests(b, ingress, worker)

	b.Run("one at a time", func(b *testing.B) {
		var asks, cores time.Duration
		for b.Loop() { // by turns, so that whatever else the machine does meets both
			asks += timed(func() { ask(b, ingress) })
			cores += timed(func() { core(b) })
		}
		b.ReportMetric(float64(asks)/float64(b.N), "ns/ask")
		b.ReportMetric(float64(asks)/float64(cores), "x-core")
	})
	b.Run("many at once", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				ask(b, ingress)
			}
		})
	})
}

func ask(b *testing.B, ingress *Bus) {
	p, err := ingress.Ask(event("call"))
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	if err := <-p.Stored; err != nil {
		b.Fatal(err)
	}
	<-p.Reply
}

// coreRequests is a plain request-reply between the same two connections.
func coreRequests(b *testing.B, ingress, worker *Bus) func(*testing.B) {
	e := event("call")
	sub, err := worker.nc.Subscribe("bench", func(m *nats.Msg) {
		if err := m.Respond([]byte("call")); err != nil {
			b.Error(err)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sub.Unsubscribe() })
	if err := worker.nc.Flush(); err != nil {
		b.Fatal(err)
	}
	return func(b *testing.B) {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if _, err := ingress.nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: "bench", Header: e.Header(), Data: e.Body}); err != nil {
			b.Fatal(err)
		}
	}
}

func timed(f func()) time.Duration {
	began := time.Now()
	f()
	return time.Since(began)
}

// BenchmarkConsumeLate is a backlog of the late lane through one worker, whose handler
// does nothing.
func BenchmarkConsumeLate(b *testing.B) {
	s := startServer(b)
	bus := connect(b, s, overTCP(s.URL()))
	const backlog = 20_000
	var took time.Duration
	for b.Loop() {
		fill(b, bus, backlog)
		left := atomic.Int32{}
		left.Store(backlog)
		done := make(chan struct{})
		began := time.Now()
		r := consumeLate(b, bus, ConsumerConfig{}, func(Delivery) Result {
			if left.Add(-1) == 0 {
				close(done)
			}
			return Done()
		})
		<-done
		drained(b, bus)
		took += time.Since(began)
		r.end(b)
	}
	b.ReportMetric(float64(b.N)*backlog/took.Seconds(), "events/s")
}

// fill puts n events of many calls into the late lane.
func fill(b *testing.B, bus *Bus, n int) {
	work := make(chan int)
	var defers sync.WaitGroup
	for range 64 {
		defers.Go(func() {
			for i := range work {
				deferEvent(b, bus, delivery(fmt.Sprint(i), uint64(i)))
			}
		})
	}
	for i := range n {
		work <- i
	}
	close(work)
	defers.Wait()
}
