package store

import (
	"context"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/store/redistest"
)

var sharedRedis redistest.Shared

// suite stops the shared server before goroutines are counted.
type suite struct{ *testing.M }

func (s suite) Run() int {
	defer sharedRedis.Stop()
	return s.M.Run()
}

func TestMain(m *testing.M) {
	LogClient(slog.New(slog.DiscardHandler))
	goleak.VerifyTestMain(suite{m})
}

// onBoth runs a test on a real redis-server and on the embedded store. Each has a
// prefix of its own there.
func onBoth(t *testing.T, test func(t *testing.T, s *Store)) {
	t.Helper()
	t.Parallel()
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		test(t, openRedis(t))
	})
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		test(t, open(t, startEmbedded(t).URL()+patience))
	})
}

// openRedis opens the shared redis-server.
func openRedis(t testing.TB) *Store { return open(t, sharedRedis.URL(t)+patience) }

// patience is for tests that are not about time, on machines that are busy.
const patience = "?dial_timeout=30s&read_timeout=30s&write_timeout=30s&pool_timeout=30s"

// open opens a store with a prefix of its own, with the retention given or a day.
func open(t testing.TB, url string, retention ...time.Duration) *Store {
	t.Helper()
	cfg := Config{URL: url, CallRetention: 24 * time.Hour, AllowVolatile: true, Prefix: prefixOf(t)}
	if len(retention) > 0 {
		cfg.CallRetention = retention[0]
	}
	s, err := Open(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// prefixOf is unique to a test, and to a run of it with -count.
func prefixOf(t testing.TB) string { return "t" + plain(t.Name() + " " + time.Now().String())[1:31] }

// startEmbedded runs an embedded store until the test ends.
func startEmbedded(t testing.TB) *Embedded {
	t.Helper()
	e, err := StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- e.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return e
}

// eventually tries again, a little later each time, until ok or the test fails.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for !ok() {
		select {
		case <-again.C:
		case <-deadline:
			t.Fatalf("still not so after a minute: %s", what)
		}
	}
}

// ttl is a key's time to live by Redis.
func ttl(t testing.TB, s *Store, key string) time.Duration {
	t.Helper()
	left, err := s.client.PTTL(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return left
}

// wantTTL asserts that a key expires within a minute before want.
func wantTTL(t testing.TB, s *Store, key string, want time.Duration) {
	t.Helper()
	if got := ttl(t, s, key); got > want+time.Second || got < want-time.Minute {
		t.Errorf("key %s expires in %s, want %s", key, got, want)
	}
}

// keysOf lists every key the test has written.
func keysOf(t testing.TB, s *Store) []string {
	t.Helper()
	var names []string
	scan := s.client.Scan(t.Context(), 0, s.config.Prefix+":*", 1000).Iterator()
	for scan.Next(t.Context()) {
		names = append(names, scan.Val())
	}
	if err := scan.Err(); err != nil {
		t.Fatal(err)
	}
	return names
}

func noError(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// scripts are the embedded files, by name.
func scripts(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("lua")
	noError(t, err)
	texts := make(map[string]string)
	for _, entry := range entries {
		text, err := os.ReadFile("lua/" + entry.Name())
		noError(t, err)
		texts[strings.TrimSuffix(entry.Name(), ".lua")] = string(text)
	}
	return texts
}
