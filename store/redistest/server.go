package redistest

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a redis-server may take to start or to stop.
const patience = time.Minute

// Server is a redis-server with a directory of its own, listening on a unix socket
// in it. It is not safe for concurrent use, except URL.
type Server struct {
	dir      string
	settings []string
	process  *process // nil while stopped
}

// Start runs a redis-server until the test ends. It writes an append-only file and
// never evicts; settings override that, as pairs of name and value:
//
//	redistest.Start(t, "maxmemory-policy", "allkeys-lru")
func Start(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := newServer(settings)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.remove)
	return s
}

func newServer(settings []string) (*Server, error) {
	if len(settings)%2 != 0 {
		return nil, fmt.Errorf("redistest: settings are pairs of name and value, got %q", settings)
	}
	// Not t.TempDir, whose long names exceed what the path of a socket may have.
	dir, err := os.MkdirTemp("", "offhook-redis-")
	if err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	s := &Server{dir: dir, settings: settings}
	if s.process, err = startProcess(s.arguments()); err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

func (s *Server) socket() string { return filepath.Join(s.dir, "redis.sock") }

func (s *Server) arguments() []string {
	args := []string{
		"--port", "0", "--unixsocket", s.socket(), "--dir", s.dir,
		"--save", "", "--appendonly", "yes", "--maxmemory-policy", "noeviction",
	}
	for i := 0; i < len(s.settings); i += 2 {
		args = append(args, "--"+s.settings[i], s.settings[i+1])
	}
	return args
}

// URL is the server's URL, the same after Restart.
func (s *Server) URL() string { return "unix://" + s.socket() }

// Stop ends the process in good order; with the append-only file on, Restart finds
// the data again.
func (s *Server) Stop(t testing.TB) { t.Helper(); s.end(t, syscall.SIGTERM) }

// Kill ends the process at once (SIGKILL).
func (s *Server) Kill(t testing.TB) { t.Helper(); s.end(t, syscall.SIGKILL) }

// Restart starts the process again on the same directory and URL, after stopping
// it if it runs, and waits until it has loaded its data.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	if s.process != nil {
		s.Stop(t)
	}
	p, err := startProcess(s.arguments())
	if err != nil {
		t.Fatal(err)
	}
	s.process = p
}

// Pause stops the process where it stands (SIGSTOP): connections stay open, new
// ones are accepted by the kernel, nothing is answered.
func (s *Server) Pause(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGSTOP) }

// Resume lets a paused process go on (SIGCONT).
func (s *Server) Resume(t testing.TB) { t.Helper(); s.signal(t, syscall.SIGCONT) }

func (s *Server) signal(t testing.TB, sig syscall.Signal) {
	t.Helper()
	if s.process == nil {
		t.Fatalf("redistest: %v for a redis-server that is stopped", sig)
	}
	if err := s.process.command.Process.Signal(sig); err != nil {
		t.Fatalf("redistest: %v: %v", sig, err)
	}
}

func (s *Server) end(t testing.TB, sig syscall.Signal) {
	t.Helper()
	s.signal(t, sig)
	p := s.process
	s.process = nil
	if err := p.command.Process.Signal(syscall.SIGCONT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Errorf("redistest: SIGCONT: %v", err)
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.kill()
		t.Fatalf("redistest: redis-server did not stop within %s of %v; its log:\n%s", patience, sig, p.log.String())
	}
}

// remove ends the process, if it still runs, and deletes its data.
func (s *Server) remove() {
	if s.process != nil {
		s.process.kill()
		s.process = nil
	}
	_ = os.RemoveAll(s.dir) // at worst a directory stays behind in the temporary one
}

// process is one run of redis-server.
type process struct {
	command *exec.Cmd
	log     *watchedLog
	ended   chan struct{} // closed once the process is reaped
}

// startProcess returns when the server accepts connections.
func startProcess(args []string) (*process, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("redistest: redis-server is missing: install the Debian package redis-server (%w)", err)
	}
	log := &watchedLog{ready: make(chan struct{})}
	p := &process{command: exec.Command(path, args...), log: log, ended: make(chan struct{})} //nolint:gosec,noctx // a test starts the server it was told to, and stops it itself
	p.command.Stdout, p.command.Stderr = log, log
	p.command.SysProcAttr = dieWithParent()

	started := make(chan error, 1)
	go func() {
		// The kernel ties the process' life to the thread that started it, so this
		// goroutine keeps that thread until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.ended)
		err := p.command.Start()
		started <- err
		if err == nil {
			_ = p.command.Wait() // how it ended is in its log
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("redistest: %w", err)
	}
	select {
	case <-log.ready:
		return p, nil
	case <-p.ended:
		return nil, fmt.Errorf("redistest: redis-server ended at once; its log:\n%s", log.String())
	case <-time.After(patience):
		p.kill()
		return nil, fmt.Errorf("redistest: redis-server was not ready within %s; its log:\n%s", patience, log.String())
	}
}

// kill ends the process, paused or not, and waits for it.
func (p *process) kill() {
	_ = p.command.Process.Kill() // it fails only if the process has ended
	<-p.ended
}

// watchedLog keeps what redis-server prints and tells when it is ready.
type watchedLog struct {
	ready chan struct{}

	mu   sync.Mutex
	text bytes.Buffer
	seen bool
}

func (l *watchedLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text.Write(b)
	// "The server is now ready to accept connections at …", or from 7.2 on "Ready
	// to accept connections unix".
	if !l.seen && bytes.Contains(l.text.Bytes(), []byte("eady to accept connections")) {
		l.seen = true
		close(l.ready)
	}
	return len(b), nil
}

func (l *watchedLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
