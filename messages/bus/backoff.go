package bus

import (
	"time"

	"github.com/cenkalti/backoff/v4"
)

// delayAt is the wait after the attempt-th failure, counted from 1: it doubles from
// first up to most, give or take a fifth so that what failed together does not come
// back together.
func delayAt(attempt int, first, most time.Duration) time.Duration {
	b := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(first),
		backoff.WithMaxInterval(most),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0.2),
		backoff.WithMaxElapsedTime(0), // never "stop": giving up is counted in attempts
	)
	d := b.NextBackOff()
	for range min(attempt, 32) - 1 { // any interval has reached its ceiling by then
		d = b.NextBackOff()
	}
	return d
}

// retryDelay is the redelivery delay of a message that failed for the attempt-th
// time.
func retryDelay(attempt int) time.Duration {
	return delayAt(attempt, 250*time.Millisecond, 30*time.Second)
}
