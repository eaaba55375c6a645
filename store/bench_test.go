package store

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/offhook/offhook/store/redistest"
)

// BenchmarkLoadAndCommitCall is one step of a call as a worker makes it, by so many
// workers at once: ns/op is the time per step of all of them together, µs/step what a
// worker waits for one; client-µs and redis-µs are the CPU time of a step here and in
// Redis.
func BenchmarkLoadAndCommitCall(b *testing.B) {
	b.Run("redis", func(b *testing.B) { benchmarkSteps(b, redistest.Start(b).URL()) })
	b.Run("embedded", func(b *testing.B) { benchmarkSteps(b, startEmbedded(b).URL()) })
}

func benchmarkSteps(b *testing.B, url string) {
	s := open(b, url+patience)
	for _, workers := range []int{1, 8, 64} {
		b.Run(strconv.Itoa(workers), func(b *testing.B) {
			b.ReportAllocs()
			here, there, began := cpuHere(b), cpuOf(b, s), time.Now()
			var all sync.WaitGroup
			for w := range workers {
				all.Go(func() { stepCalls(b, s, fmt.Sprintf("%d-%d-%d", b.N, workers, w), b.N/workers+1) })
			}
			all.Wait()
			per := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(b.N) }
			b.ReportMetric(per(time.Since(began))*float64(workers), "µs/step")
			b.ReportMetric(per(cpuHere(b)-here), "client-µs")
			b.ReportMetric(per(cpuOf(b, s)-there), "redis-µs")
		})
	}
}

// stepCalls steps n times, six times each call.
func stepCalls(b *testing.B, s *Store, name string, n int) {
	state, outbox, entry := bytes.Repeat([]byte("s"), 500), bytes.Repeat([]byte("o"), 300), bytes.Repeat([]byte("l"), 150)
	for step := range n {
		id := name + "-" + strconv.Itoa(step/6)
		loaded, err := s.LoadCall(b.Context(), id)
		if err == nil {
			err = s.CommitCall(b.Context(), id, Commit{Expect: loaded.Revision, State: state, Outbox: outbox, Log: [][]byte{entry}})
		}
		if err != nil {
			b.Error(err)
			return
		}
	}
}

// cpuHere is the CPU time this process has used.
func cpuHere(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// cpuOf is the CPU time the server has used; 0 for the embedded one, which does not
// say.
func cpuOf(b *testing.B, s *Store) time.Duration {
	info, err := s.client.Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	var sum time.Duration
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			if err != nil {
				b.Fatal(err)
			}
			sum += time.Duration(seconds * float64(time.Second))
		}
	}
	return sum
}
