package simulator

import (
	"sync"
	"time"
)

// limiter lets at most rate requests through in a second, as many at once, and
// refills steadily. A rate of 0 lets everything through. Safe for concurrent use.
type limiter struct {
	rate float64

	mu     sync.Mutex
	tokens float64
	filled time.Time
}

func newLimiter(perSecond int) *limiter {
	return &limiter{rate: float64(perSecond), tokens: float64(perSecond)}
}

func (l *limiter) allow(now time.Time) bool {
	if l.rate == 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.filled.IsZero() {
		l.filled = now
	}
	if since := now.Sub(l.filled); since > 0 {
		l.tokens = min(l.rate, l.tokens+since.Seconds()*l.rate)
		l.filled = now
	}
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
