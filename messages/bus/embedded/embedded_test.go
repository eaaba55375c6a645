package embedded

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/messages"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func start(t *testing.T, cfg Config) *Server {
	t.Helper()
	s, err := Start(within(t), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func connect(t *testing.T, url string, opts ...nats.Option) jetstream.JetStream {
	t.Helper()
	closed := make(chan struct{})
	nc, err := nats.Connect(url, append(opts, nats.ClosedHandler(func(*nats.Conn) { close(closed) }))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close(); <-closed })
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

func TestInProcessOnly(t *testing.T) {
	t.Parallel()
	s := start(t, Config{Dir: filepath.Join(t.TempDir(), "made", "for it")})
	if s.URL() != "" {
		t.Errorf("it listens on %s", s.URL())
	}
	js := connect(t, "", nats.InProcessServer(s))
	if _, err := js.AccountInfo(within(t)); err != nil {
		t.Error(err)
	}
}

func TestWhatIsStoredOutlivesTheServerAndItsPortIsFreeAgain(t *testing.T) {
	t.Parallel()
	cfg := Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}
	s := start(t, cfg)
	js := connect(t, s.URL())
	if _, err := js.CreateStream(within(t), jetstream.StreamConfig{Name: "S", Subjects: []string{"s"}}); err != nil {
		t.Fatal(err)
	}
	const n = 500
	for range n {
		if _, err := js.Publish(within(t), "s", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	url := s.URL()
	s.Close()
	s.Close()

	cfg.Listen = strings.TrimPrefix(url, "nats://")
	again := start(t, cfg)
	if again.URL() != url {
		t.Errorf("it listens on %s, want %s", again.URL(), url)
	}
	stream, err := connect(t, url).Stream(within(t), "S")
	if err != nil {
		t.Fatal(err)
	}
	if got := stream.CachedInfo().State.Msgs; got != n {
		t.Errorf("%d messages are left of %d", got, n)
	}
}

func TestStartRefuses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	tests := []struct {
		name string
		cfg  Config
		code messages.Code
		want string
	}{
		{"no directory", Config{}, messages.CodeUsage, "Dir: is empty"},
		{"the whole network", Config{Dir: dir, Listen: "0.0.0.0:4222"}, messages.CodeUsage, "loopback only"},
		{"every interface", Config{Dir: dir, Listen: ":4222"}, messages.CodeUsage, "loopback only"},
		{"a name", Config{Dir: dir, Listen: "example.com:4222"}, messages.CodeUsage, "loopback only"},
		{"no port", Config{Dir: dir, Listen: "127.0.0.1"}, messages.CodeUsage, "host:port"},
		{"bad port", Config{Dir: dir, Listen: "127.0.0.1:99999"}, messages.CodeUsage, "0 to 65535"},
		{"port taken", Config{Dir: dir, Listen: taken.Addr().String()}, messages.CodeUnavailable, "address already in use"},
		{"a file for a directory", Config{Dir: file}, messages.CodeUnavailable, file},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := Start(within(t), tt.cfg, slog.New(slog.DiscardHandler))
			if err == nil {
				s.Close()
				t.Fatal("it started")
			}
			if messages.CodeOf(err) != tt.code || !strings.Contains(fmt.Sprint(err), tt.want) {
				t.Errorf("got %s: %v; want %s: %q", messages.CodeOf(err), err, tt.code, tt.want)
			}
		})
	}
}
