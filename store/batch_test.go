package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store/redistest"
)

// hold makes s as busy as it gets, so that what comes waits. What it returns lets
// everything go on.
func hold(s *Store) (release func()) {
	s.batch.mu.Lock()
	defer s.batch.mu.Unlock()
	s.batch.trips += tripsAtOnce
	return func() {
		for range tripsAtOnce {
			s.batch.next()
		}
	}
}

// wantWaiting waits until n commands wait.
func wantWaiting(t *testing.T, s *Store, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d commands wait", n), func() bool {
		s.batch.mu.Lock()
		defer s.batch.mu.Unlock()
		return len(s.batch.waiting) == n
	})
}

// wantIdle waits until no round trip is under way and nothing waits for one.
func wantIdle(t *testing.T, s *Store) {
	t.Helper()
	eventually(t, "the store is idle", func() bool {
		s.batch.mu.Lock()
		defer s.batch.mu.Unlock()
		return s.batch.trips == 0 && len(s.batch.waiting) == 0
	})
}

// pipelines counts the client's pipelines and what was in them.
type pipelines struct {
	redis.Hook
	sent, commands atomic.Int32
}

func (p *pipelines) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (p *pipelines) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (p *pipelines) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, commands []redis.Cmder) error {
		if commands[0].Name() != "hello" && commands[0].Name() != "auth" { // a connection's handshake
			p.sent.Add(1)
			p.commands.Add(int32(min(len(commands), 1000)))
		}
		return next(ctx, commands)
	}
}

// What waits goes together, and each command has an answer or an error of its own.
func TestBatchSharesRoundTrips(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		noError(t, s.client.Set(ctx, s.keys.call("foreign"), "x", time.Hour).Err())
		noError(t, s.CommitCall(ctx, "stored", Commit{State: []byte("s"), Outbox: []byte("o")}))
		noError(t, s.client.ScriptFlush(ctx).Err()) // the commits have to be sent twice
		count := &pipelines{}
		s.client.AddHook(count)

		const each = 10
		release := hold(s)
		var all sync.WaitGroup
		for n := range each {
			id := fmt.Sprint("new ", n)
			all.Go(func() {
				got, err := s.LoadCall(ctx, "stored")
				if diff := cmp.Diff(Call{Revision: 1, State: []byte("s"), Outbox: []byte("o")}, got); diff != "" || err != nil {
					t.Errorf("load: %v (-want +got):\n%s", err, diff)
				}
			})
			all.Go(func() {
				if got, err := s.LoadCall(ctx, "absent"); err != nil || got.Revision != 0 {
					t.Errorf("load of nothing: got %+v, %v", got, err)
				}
			})
			all.Go(func() {
				if _, err := s.LoadCall(ctx, "foreign"); messages.CodeOf(err) != messages.CodeInternal {
					t.Errorf("load of a foreign key: got code %s: %v", messages.CodeOf(err), err)
				}
			})
			all.Go(func() {
				if err := s.CommitCall(ctx, "stored", Commit{Expect: 7}); !errors.Is(err, ErrConflict) {
					t.Errorf("commit on another revision: got %v", err)
				}
			})
			all.Go(func() {
				if err := s.CommitCall(ctx, id, Commit{State: []byte(id), Log: entries(id)}); err != nil {
					t.Errorf("commit: %v", err)
				}
			})
		}
		wantWaiting(t, s, 5*each)
		release()
		all.Wait()
		if sent, commands := count.sent.Load(), count.commands.Load(); commands < 5*each || sent > commands/4 {
			t.Errorf("%d commands went in %d round trips", commands, sent)
		}
		for n := range each {
			id := fmt.Sprint("new ", n)
			wantCall(t, s, id, Call{Revision: 1, State: []byte(id), Outbox: []byte{}}, id)
		}
	})
}

// A store that is not busy sends at once, without a batch.
func TestBatchOfAnIdleStoreIsNone(t *testing.T) {
	t.Parallel()
	s := openRedis(t)
	count := &pipelines{}
	s.client.AddHook(count)
	for revision := range uint64(5) {
		noError(t, s.CommitCall(t.Context(), "c", Commit{Expect: revision}))
		_, err := s.LoadCall(t.Context(), "c")
		noError(t, err)
	}
	if sent := count.sent.Load(); sent > 0 {
		t.Errorf("%d pipelines for commands that came one by one", sent)
	}
	wantIdle(t, s)
}

// A caller whose time is over does not wait for the others, and what was not sent yet
// is not sent any more.
func TestBatchLetsGoOfACallerWhoseContextEnds(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		release := hold(s)
		ctx, cancel := context.WithCancel(t.Context())
		failed, stays := make(chan error), make(chan error)
		go func() { failed <- s.CommitCall(ctx, "given up", Commit{State: []byte("s")}) }()
		go func() { stays <- s.CommitCall(t.Context(), "waits", Commit{State: []byte("s")}) }()
		wantWaiting(t, s, 2)
		cancel()
		err := <-failed
		wantUnavailable(t, "CommitCall", err)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the cause is lost: %v", err)
		}
		release()
		noError(t, <-stays)
		wantCall(t, s, "waits", Call{Revision: 1, State: []byte("s"), Outbox: []byte{}})
		wantCall(t, s, "given up", Call{})
	})
}

// steps loads and commits from many goroutines until one of them fails, and returns
// everybody's first error.
func steps(t *testing.T, s *Store, workers int) <-chan error {
	t.Helper()
	failed := make(chan error, workers)
	for w := range workers {
		go func() {
			for n := 0; ; n++ {
				id := fmt.Sprintf("%d %d", w, n)
				got, err := s.LoadCall(context.Background(), id)
				if err == nil && got.Revision != 0 {
					err = fmt.Errorf("call %s is there already", id)
				}
				if err == nil {
					err = s.CommitCall(context.Background(), id, Commit{State: []byte(id)})
				}
				if err != nil {
					failed <- err
					return
				}
			}
		}()
	}
	return failed
}

// However Redis ends under load, everybody is told within the answer window, and the
// store works again with it.
func TestBatchesWhenRedisFails(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]struct {
		end, mend func(*redistest.Server, testing.TB)
	}{
		"killed": {(*redistest.Server).Kill, (*redistest.Server).Restart},
		"hangs":  {(*redistest.Server).Pause, (*redistest.Server).Resume},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			const workers = 3 * tripsAtOnce * 10
			server := redistest.Start(t)
			s := open(t, server.URL())
			failed := steps(t, s, workers)
			eventually(t, "there is load", func() bool {
				got, err := s.LoadCall(t.Context(), "0 20")
				return err == nil && got.Revision == 1
			})
			began := time.Now()
			f.end(server, t)
			for range workers {
				wantUnavailable(t, "a step", <-failed)
			}
			if took := time.Since(began); took > window {
				t.Errorf("it took %s until everybody knew, the answer window is %s", took, window)
			}
			f.mend(server, t)
			eventually(t, "Redis is ready again", func() bool { return s.Ready(t.Context()) == nil })
			noError(t, s.CommitCall(t.Context(), "after", Commit{State: []byte("s")}))
			wantIdle(t, s)
		})
	}
}

// A connection that is lost in the middle of a batch's answers: nobody takes the
// missing one for a call that is not stored.
func TestBatchThatIsAnsweredInPart(t *testing.T) {
	t.Parallel()
	const calls = 20
	url, cut := cuttable(t, sharedRedis.URL(t))
	s := open(t, url+patience)
	for n := range calls {
		noError(t, s.CommitCall(t.Context(), fmt.Sprint(n), Commit{State: []byte("some state")}))
	}
	release := hold(s)
	var all sync.WaitGroup
	var lost atomic.Int32
	for n := range calls {
		all.Go(func() {
			switch got, err := s.LoadCall(t.Context(), fmt.Sprint(n)); {
			case err != nil:
				wantUnavailable(t, "LoadCall", err)
				lost.Add(1)
			case got.Revision != 1:
				t.Errorf("got %+v without an error", got)
			}
		})
	}
	wantWaiting(t, s, calls)
	cut.Store(100) // bytes: some answers
	release()
	all.Wait()
	if lost.Load() == 0 {
		t.Error("every load was answered")
	}
	wantCall(t, s, "0", Call{Revision: 1, State: []byte("some state"), Outbox: []byte{}})
}

// cuttable is a way to the server at url that can be cut once: after as many more
// bytes of answers as cut is set to.
func cuttable(t *testing.T, url string) (string, *atomic.Int64) {
	t.Helper()
	cut := &atomic.Int64{}
	socket := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", socket)
	noError(t, err)
	var all sync.WaitGroup
	t.Cleanup(func() {
		noError(t, listener.Close())
		all.Wait()
	})
	pass := func(client net.Conn) {
		defer client.Close()
		server, err := net.Dial("unix", strings.TrimPrefix(url, "unix://"))
		if err != nil {
			t.Error(err)
			return
		}
		defer server.Close()
		all.Go(func() { _, _ = io.Copy(server, client); _ = server.Close() })
		for buffer := make([]byte, 64<<10); ; {
			n, err := server.Read(buffer)
			if err != nil {
				return
			}
			if most := cut.Load(); most > 0 && int64(n) > most && cut.CompareAndSwap(most, 0) {
				_, _ = client.Write(buffer[:most])
				return
			}
			if _, err := client.Write(buffer[:n]); err != nil {
				return
			}
		}
	}
	all.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() { pass(client) })
		}
	})
	return "unix://" + socket, cut
}

// Close ends everything that is under way or waits, and leaves nothing behind.
func TestCloseUnderLoad(t *testing.T) {
	t.Parallel()
	for range 5 {
		s, err := Open(t.Context(), Config{URL: sharedRedis.URL(t), Prefix: prefixOf(t)}, slog.New(slog.DiscardHandler))
		noError(t, err)
		const workers = 40
		failed := steps(t, s, workers)
		eventually(t, "there is load", func() bool {
			got, err := s.LoadCall(t.Context(), "0 5")
			return err == nil && got.Revision == 1
		})
		noError(t, s.Close())
		for range workers {
			wantUnavailable(t, "a step", <-failed)
		}
		wantIdle(t, s)
	}
}
