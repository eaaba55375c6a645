package logtest

import (
	"bytes"
	"log/slog"
	"regexp"
	"sync"
	"testing"
	"time"
)

// patience is how long Await waits for what should take a fraction of it.
const patience = time.Minute

// Log keeps what is written to it. The zero value is empty and ready; it is safe for
// concurrent use.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed and forgotten with the next write; nil: nobody waits
}

// Logger writes to the log, debug lines included.
func (l *Log) Logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// Write never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
	return l.text.Write(p)
}

// String is what has been written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Await waits until what has been written matches pattern, in which . is any
// character of a line, and returns the first match and its groups. It fails the
// test if that takes longer than a minute.
func (l *Log) Await(t testing.TB, pattern string) []string {
	t.Helper()
	want := regexp.MustCompile(pattern)
	over := time.After(patience)
	for {
		l.mu.Lock()
		text := l.text.String()
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		if match := want.FindStringSubmatch(text); match != nil {
			return match
		}
		select {
		case <-more:
		case <-over:
			t.Fatalf("%s was not written within %s; what was:\n%s", pattern, patience, text)
		}
	}
}
