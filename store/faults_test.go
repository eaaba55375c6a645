package store

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store/redistest"
)

// window is the default answer window, inside which a worker must know that it
// cannot decide.
const window = 2500 * time.Millisecond

// operations is every operation that asks Redis.
func operations(s *Store) map[string]func(ctx context.Context) error {
	in := newIntent("operation")
	return map[string]func(ctx context.Context) error{
		"Ready":        s.Ready,
		"Check":        s.Check,
		"LoadCall":     func(ctx context.Context) error { _, err := s.LoadCall(ctx, "c"); return err },
		"LoadLog":      func(ctx context.Context) error { _, err := s.LoadLog(ctx, "c"); return err },
		"CommitCall":   func(ctx context.Context) error { return s.CommitCall(ctx, "c", Commit{}) },
		"CreateIntent": func(ctx context.Context) error { _, _, err := s.CreateIntent(ctx, in); return err },
		"BeginTry":     func(ctx context.Context) error { _, _, err := s.BeginTry(ctx, in, 0); return err },
		"ResolveTry": func(ctx context.Context) error {
			_, err := s.ResolveTry(ctx, in.ID, Resolution{Status: messages.CallUnknown})
			return err
		},
		"ClaimIntent": func(ctx context.Context) error { _, _, err := s.ClaimIntent(ctx, in.ID, "c"); return err },
		"Intent":      func(ctx context.Context) error { _, err := s.Intent(ctx, in.ID); return err },
		"DueIntents":  func(ctx context.Context) error { _, err := s.DueIntents(ctx, 1); return err },
		"ClearDue":    func(ctx context.Context) error { return s.ClearDue(ctx, in.ID) },
		"PutFlow":     func(ctx context.Context) error { return s.PutFlow(ctx, "n", "h", nil) },
		"Flow":        func(ctx context.Context) error { _, err := s.Flow(ctx, "h"); return err },
		"FlowHash":    func(ctx context.Context) error { _, err := s.FlowHash(ctx, "n"); return err },
		"Flows":       func(ctx context.Context) error { _, err := s.Flows(ctx); return err },
	}
}

func wantUnavailable(t *testing.T, name string, err error) {
	t.Helper()
	if !errors.Is(err, ErrUnavailable) || messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("%s: got code %s: %v; want ErrUnavailable", name, messages.CodeOf(err), err)
	}
}

// Across a restart nothing acknowledged is lost, and the first operation afterwards
// succeeds, although every pooled connection is dead and the scripts are forgotten.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(*redistest.Server, testing.TB){
		"stopped": (*redistest.Server).Stop,
		"killed":  (*redistest.Server).Kill,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			s := open(t, server.URL())
			noError(t, s.CommitCall(t.Context(), "c", Commit{State: []byte("s1"), Outbox: []byte("o1"), Log: entries("a")}))
			begin(true)(t, s, newIntent("before"))
			end(server, t)
			server.Restart(t)
			noError(t, s.CommitCall(t.Context(), "c", Commit{Expect: 1, State: []byte("s2")}))
			wantCall(t, s, "c", Call{Revision: 2, State: []byte("s2"), Outbox: []byte{}}, "a")
			begin(false)(t, s, newIntent("before"))
		})
	}
}

// A Redis that is gone is an error of its own kind, soon, from every operation.
func TestRedisIsGone(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL())
	server.Stop(t)
	for name, operation := range operations(s) {
		began := time.Now()
		wantUnavailable(t, name, operation(t.Context()))
		if took := time.Since(began); took > window {
			t.Errorf("%s took %s to notice that Redis is gone", name, took)
		}
	}
	server.Restart(t)
	eventually(t, "Redis is ready again", func() bool { return s.Ready(t.Context()) == nil })
}

// A Redis that hangs costs no more than the client's own limits, and no more than
// the caller's deadline.
func TestRedisHangs(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	s := open(t, server.URL())
	noError(t, s.CommitCall(t.Context(), "c", Commit{State: []byte("s1")}))
	server.Pause(t)

	began := time.Now()
	_, err := s.LoadCall(t.Context(), "c")
	wantUnavailable(t, "LoadCall", err)
	if took := time.Since(began); took > window {
		t.Errorf("a load took %s, the answer window is %s", took, window)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	began = time.Now()
	_, err = s.LoadCall(ctx, "c")
	wantUnavailable(t, "LoadCall with 50ms left", err)
	if took := time.Since(began); took > readTimeout-50*time.Millisecond {
		t.Errorf("a load with 50ms left took %s", took)
	}

	server.Resume(t)
	eventually(t, "Redis is ready again", func() bool { return s.Ready(t.Context()) == nil })
	wantCall(t, s, "c", Call{Revision: 1, State: []byte("s1"), Outbox: []byte{}})
}

// A commit that is repeated because its answer was lost conflicts with its own
// success: the caller loads and finds its state.
func TestCommitRepeatedAfterALostAnswer(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		c := Commit{State: []byte("s1"), Log: entries("a")}
		noError(t, s.CommitCall(t.Context(), "c", c))
		if err := s.CommitCall(t.Context(), "c", c); !errors.Is(err, ErrConflict) {
			t.Errorf("got %v, want ErrConflict", err)
		}
		wantCall(t, s, "c", Call{Revision: 1, State: []byte("s1"), Outbox: []byte{}}, "a")
	})
}

func TestScriptsAreSentAgainWhenTheServerForgot(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		for revision := range uint64(3) {
			noError(t, s.client.ScriptFlush(t.Context()).Err())
			noError(t, s.CommitCall(t.Context(), "c", Commit{Expect: revision, State: []byte("s")}))
		}
	})
}

// What a full or read-only Redis refuses may work later, so it is not a defect.
func TestRefusedWritesAreUnavailable(t *testing.T) {
	t.Parallel()
	for name, change := range map[string][2]string{
		"full":      {"maxmemory", "1"},
		"read-only": {"replicaof", "127.0.0.1 1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t, redistest.Start(t).URL())
			if change[0] == "replicaof" {
				noError(t, s.client.Do(t.Context(), "replicaof", "127.0.0.1", "1").Err())
			} else {
				noError(t, s.client.ConfigSet(t.Context(), change[0], change[1]).Err())
			}
			wantUnavailable(t, "CommitCall", s.CommitCall(t.Context(), "c", Commit{State: []byte("s")}))
			_, _, err := s.BeginTry(t.Context(), newIntent("refused"), 0)
			wantUnavailable(t, "BeginTry", err)
		})
	}
}

func TestEndedContextIsUnavailable(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for name, operation := range operations(s) {
			err := operation(ctx)
			wantUnavailable(t, name, err)
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%s: the cause is lost: %v", name, err)
			}
		}
	})
}

func TestCloseEndsOperations(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), Config{URL: sharedRedis.URL(t)}, slog.New(slog.DiscardHandler))
	noError(t, err)
	noError(t, s.Close())
	wantUnavailable(t, "Ready", s.Ready(t.Context()))
}
