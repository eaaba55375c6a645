package simulator

import (
	"math"
	"math/bits"
	"time"
)

// latencies records durations in constant memory: buckets whose width is at most
// 1/64 of their value, so that a quantile is at most 1.6 % above the truth. The
// largest value is kept exactly. Microseconds are the finest grain. Not safe for
// concurrent use; tallies guards it.
type latencies struct {
	counts [latencyBuckets]uint64
	n      uint64
	max    time.Duration
}

const (
	latencyBits    = 6  // 64 buckets per power of two
	latencyLargest = 40 // bits of the largest value: 2^40 µs, 12 days
	latencyBuckets = (latencyLargest - latencyBits + 1) << latencyBits
)

func (l *latencies) add(d time.Duration) {
	d = max(0, d)
	l.n++
	l.max = max(l.max, d)
	l.counts[bucketOf(uint64(d/time.Microsecond))]++
}

// quantile is the value that a share q of all values do not exceed; 0 when there
// are none.
func (l *latencies) quantile(q float64) time.Duration {
	if l.n == 0 {
		return 0
	}
	rank := max(1, uint64(math.Ceil(q*float64(l.n)-1e-9))) // 0.999*1000 is not 999 to a float
	var seen uint64
	for i := range uint64(latencyBuckets) {
		seen += l.counts[i]
		if seen >= rank {
			return min(l.max, time.Duration(bucketTop(i))*time.Microsecond) //nolint:gosec // at most 2^40
		}
	}
	return l.max
}

func bucketOf(v uint64) uint64 {
	shift := uint64(max(0, bits.Len64(v)-latencyBits-1)) //nolint:gosec // at most 57
	return min(latencyBuckets-1, shift<<latencyBits+v>>shift)
}

// bucketTop is the largest value of a bucket.
func bucketTop(i uint64) uint64 {
	if i < 2<<latencyBits {
		return i
	}
	shift := i>>latencyBits - 1
	return (i-shift<<latencyBits+1)<<shift - 1
}
