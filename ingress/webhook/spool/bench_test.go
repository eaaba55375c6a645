package spool

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/offhook/offhook/messages"
)

// What an ingress can take while NATS is away: an event and its told report together.
func BenchmarkAppend(b *testing.B) {
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", n), func(b *testing.B) {
			s := openSpool(b, Config{Dir: b.TempDir()})
			env, told := event("event"), event("told")
			next := make(chan struct{}, n)
			var all sync.WaitGroup
			for range n {
				all.Go(func() {
					for range next {
						if err := s.Append(context.Background(), env, told); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ReportAllocs()
			for b.Loop() {
				next <- struct{}{}
			}
			close(next)
			all.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
		})
	}
}

func BenchmarkDrain(b *testing.B) {
	const n = 10_000
	envs := events(n)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		s := openSpool(b, Config{Dir: b.TempDir()})
		mustAppend(b, s, envs...)
		b.StartTimer()
		if err := s.Drain(context.Background(), func(context.Context, []messages.Envelope) error { return nil }); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*n/b.Elapsed().Seconds(), "events/s")
}

// What a start costs that finds a spool of 64 MiB.
func BenchmarkOpen(b *testing.B) {
	dir := b.TempDir()
	s := openSpool(b, Config{Dir: dir})
	envs := events(10_000)
	for s.Stats().Bytes < 64<<20 {
		mustAppend(b, s, envs...)
	}
	b.SetBytes(s.Stats().Bytes)
	closeSpool(b, s)
	b.ReportAllocs()
	for b.Loop() {
		s, err := Open(Config{Dir: dir}, discard)
		if err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		closeSpool(b, s)
		b.StartTimer()
	}
}
