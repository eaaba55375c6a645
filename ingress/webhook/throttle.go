package webhook

import (
	"sync"
	"time"
)

// throttle thins out a log line that strangers, or an outage, could write
// thousands of times a second. The zero value is ready.
type throttle struct {
	mu      sync.Mutex
	next    time.Time
	skipped int
}

// allow reports whether to write the line now, which it does at most once every
// interval, and how many were left out since it was last written.
func (t *throttle) allow(interval time.Duration) (skipped int, ok bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.next) {
		t.skipped++
		return 0, false
	}
	skipped, t.skipped, t.next = t.skipped, 0, now.Add(interval)
	return skipped, true
}
