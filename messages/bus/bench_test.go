package bus

import (
	"context"
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
		for b.Loop() {
			ask(b, ingress)
		}
		ask := b.Elapsed()
		b.ReportMetric(float64(ask)/float64(timed(b.N, func() { core(b) })), "x-core")
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

func timed(n int, f func()) time.Duration {
	began := time.Now()
	for range n {
		f()
	}
	return time.Since(began)
}
