package webhook

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// throttle thins out log lines that strangers, or an outage, could write thousands
// of times a second: each kind by itself, so that a flood of one does not hide the
// others. The zero value is ready.
type throttle struct {
	mu    sync.Mutex
	kinds map[string]*thinned
}

type thinned struct {
	next    time.Time
	skipped int
}

// allow reports whether to write a line of this kind now, which it does at most
// once every interval, and how many were left out since the last. Kinds are ours to
// name: one that a stranger chose would stay in memory.
func (t *throttle) allow(kind string, interval time.Duration) (skipped int, ok bool) {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kinds[kind]
	switch {
	case k == nil:
		if t.kinds == nil {
			t.kinds = make(map[string]*thinned)
		}
		k = &thinned{}
		t.kinds[kind] = k
	case now.Before(k.next):
		k.skipped++
		return 0, false
	}
	skipped, k.skipped, k.next = k.skipped, 0, now.Add(interval)
	return skipped, true
}

// serverLog is where net/http writes what strangers do to their connections: one
// kind of line, thinned out.
type serverLog struct {
	slog.Handler
	throttle *throttle
}

func (l serverLog) Handle(ctx context.Context, r slog.Record) error {
	skipped, ok := l.throttle.allow("net/http", logInterval)
	if !ok {
		return nil
	}
	line := slog.NewRecord(r.Time, r.Level, "webhook: the HTTP server reports", r.PC)
	line.AddAttrs(slog.String("error", r.Message), slog.Int("not_logged", skipped))
	return l.Handler.Handle(ctx, line)
}
