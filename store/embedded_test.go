package store

import (
	"context"
	"net"
	"testing"
	"time"
)

// Keys of the embedded store expire while it runs, whatever their kind.
func TestEmbeddedExpires(t *testing.T) {
	t.Parallel()
	s := open(t, startEmbedded(t).URL(), 300*time.Millisecond)
	ctx := t.Context()
	in := newIntent("short")
	in.NotAfter = time.Time{}
	noError(t, s.CommitCall(ctx, "c", Commit{State: []byte("s"), Log: entries("a")}))
	_, _, err := s.BeginTry(ctx, in, 0)
	noError(t, err)
	noError(t, s.PutFlow(ctx, "survey", "h1", []byte("x")))
	eventually(t, "every key has expired", func() bool { return len(keysOf(t, s)) == 0 })
	wantCall(t, s, "c", Call{})
	// The next call of this id is a new one.
	noError(t, s.CommitCall(ctx, "c", Commit{State: []byte("s")}))
}

func TestEmbeddedStops(t *testing.T) {
	t.Parallel()
	e, err := StartEmbedded()
	noError(t, err)
	address := e.redis.Addr()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	s := open(t, e.URL())
	stop()
	noError(t, <-ended)
	wantUnavailable(t, "Ready", s.Ready(t.Context()))
	if c, err := net.Dial("tcp", address); err == nil {
		_ = c.Close()
		t.Error("it still listens after Run has ended")
	}
	e.Close()
	e.Close()
}

func TestEmbeddedClosesWithoutRun(t *testing.T) {
	t.Parallel()
	for range 20 {
		e, err := StartEmbedded()
		noError(t, err)
		e.Close()
	}
}
