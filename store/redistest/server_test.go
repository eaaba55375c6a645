package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// ask sends one inline command and returns the first line of the answer.
func ask(t *testing.T, url, command string) (string, error) {
	t.Helper()
	conn, err := net.Dial("unix", strings.TrimPrefix(url, "unix://"))
	if err != nil {
		return "", err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return "", err
	}
	if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	return strings.TrimSpace(line), err
}

func wantAnswer(t *testing.T, url, command, want string) {
	t.Helper()
	got, err := ask(t, url, command)
	if err != nil || got != want {
		t.Errorf("%s: got %q, %v, want %q", command, got, err, want)
	}
}

func TestServerLives(t *testing.T) {
	t.Parallel()
	s := Start(t, "maxmemory", "64mb")
	wantAnswer(t, s.URL(), "PING", "+PONG")
	wantAnswer(t, s.URL(), "SET k v", "+OK")

	s.Stop(t)
	if _, err := ask(t, s.URL(), "PING"); err == nil {
		t.Error("a stopped server answers")
	}
	s.Restart(t)
	wantAnswer(t, s.URL(), "EXISTS k", ":1")

	s.Kill(t)
	s.Restart(t)
	wantAnswer(t, s.URL(), "EXISTS k", ":1")

	s.Pause(t)
	if _, err := ask(t, s.URL(), "PING"); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("a paused server: got %v, want a timeout", err)
	}
	s.Resume(t)
	wantAnswer(t, s.URL(), "PING", "+PONG")

	s.Pause(t)
	s.Restart(t) // a paused server can be stopped
	wantAnswer(t, s.URL(), "PING", "+PONG")
}

// Whatever state a server is in at the end of its test, nothing stays behind.
func TestServerLeavesNothing(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Server, testing.TB){
		"running": func(*Server, testing.TB) {},
		"stopped": (*Server).Stop,
		"paused":  (*Server).Pause,
	} {
		var s *Server
		var pid int
		t.Run(name, func(t *testing.T) {
			s = Start(t)
			pid = s.process.command.Process.Pid
			change(s, t)
		})
		if err := syscall.Kill(pid, 0); !errors.Is(err, syscall.ESRCH) {
			t.Errorf("%s: process %d: %v, want it gone", name, pid, err)
		}
		if _, err := os.Stat(s.dir); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: directory %s: %v, want it gone", name, s.dir, err)
		}
	}
}

func TestServerThatCannotStart(t *testing.T) {
	t.Parallel()
	for name, settings := range map[string][]string{
		"setting without value": {"maxmemory"},
		"unknown setting":       {"no-such-setting", "1"},
	} {
		if s, err := newServer(settings); err == nil {
			s.remove()
			t.Errorf("%s: started", name)
		} else if !strings.Contains(err.Error(), settings[0]) {
			t.Errorf("%s: the error does not say why: %v", name, err)
		}
	}
}

func TestServerMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if s, err := newServer(nil); err == nil {
		s.remove()
		t.Error("started")
	} else if !strings.Contains(err.Error(), "Debian package redis-server") {
		t.Errorf("the error does not name the package: %v", err)
	}
}

func TestShared(t *testing.T) {
	t.Parallel()
	var shared Shared
	defer shared.Stop()
	url := shared.URL(t)
	if again := shared.URL(t); again != url {
		t.Errorf("two servers: %s and %s", url, again)
	}
	wantAnswer(t, url, "PING", "+PONG")
	shared.Stop()
	if _, err := ask(t, url, "PING"); err == nil {
		t.Error("a stopped server answers")
	}
	var unused Shared
	unused.Stop()
}
