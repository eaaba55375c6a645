package e2e

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/offhook/offhook/messages/bus/embedded"
)

// natsDirVariable makes this test binary a nats-server on the given directory,
// natsListenVariable says where it listens.
const (
	natsDirVariable    = "E2E_NATS_DIR"
	natsListenVariable = "E2E_NATS_LISTEN"
)

// serveNATS is the whole program when natsDirVariable is set: a nats-server that
// says its URL on stdout and ends on SIGTERM.
func serveNATS() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	s, err := embedded.Start(ctx, embedded.Config{Dir: os.Getenv(natsDirVariable), Listen: os.Getenv(natsListenVariable)}, slog.New(slog.NewTextHandler(os.Stderr, nil)))
	if err != nil {
		return err
	}
	defer s.Close()
	if _, err := fmt.Fprintln(os.Stdout, s.URL()); err != nil {
		return err
	}
	<-ctx.Done()
	return nil
}

// natsServer is a nats-server in a process of its own, which can be stopped, killed
// and started again on the same address and files.
type natsServer struct {
	t      *testing.T
	dir    string
	listen string
	url    string
	cmd    *exec.Cmd
	output *os.File // its log, kept over restarts
}

func startNATS(t *testing.T) *natsServer {
	t.Helper()
	s := &natsServer{t: t, dir: t.TempDir(), listen: "127.0.0.1:0"}
	var err error
	if s.output, err = os.CreateTemp(t.TempDir(), "nats-*.log"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.end(syscall.SIGKILL)
		if t.Failed() {
			if log, err := os.ReadFile(s.output.Name()); err == nil {
				t.Logf("log of nats-server:\n%.4000s", log)
			}
		}
		if err := s.output.Close(); err != nil {
			t.Error(err)
		}
	})
	s.start()
	return s
}

// start starts it, again on the same address, and returns when it listens.
func (s *natsServer) start() {
	s.t.Helper()
	s.cmd = exec.Command(os.Args[0])
	s.cmd.Env = append(os.Environ(), natsDirVariable+"="+s.dir, natsListenVariable+"="+s.listen)
	s.cmd.Stderr = s.output
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		s.t.Fatal(err)
	}
	if s.url = strings.TrimSpace(line); s.url == "" {
		s.t.Fatalf("nats-server did not start; its log is %s", s.output.Name())
	}
	s.listen = strings.TrimPrefix(s.url, "nats://")
}

// stop ends it as an operator does, kill as the kernel does.
func (s *natsServer) stop() { s.end(syscall.SIGTERM) }
func (s *natsServer) kill() { s.end(syscall.SIGKILL) }

func (s *natsServer) end(sig syscall.Signal) {
	if s.cmd == nil {
		return
	}
	_ = s.cmd.Process.Signal(sig) // it may have ended
	_ = s.cmd.Wait()              // a killed process is an error, and what was asked for
	s.cmd = nil
}
