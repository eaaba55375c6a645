package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what should take a fraction of it.
const patience = 60 * time.Second

// binary is the program under test, built once.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "offhook-e2e-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "offhook")
	out, err := exec.Command("go", "build", "-race", "-o", path, "github.com/offhook/offhook/cmd/offhook").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	if os.Getenv(natsDirVariable) != "" {
		if err := serveNATS(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if path, err := binary(); err == nil {
		if err := os.RemoveAll(filepath.Dir(path)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = 1
		}
	}
	os.Exit(code)
}

// process is one running offhook.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed

	mu    sync.Mutex
	lines []string
	seen  map[string]string // the url attribute of log lines, by message
	more  chan struct{}     // closed and renewed with every line
}

// start starts the binary with args and the given environment alone. It is ended
// with the test, and its log shown if the test failed.
func start(t *testing.T, name string, env []string, args ...string) *process {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, done: make(chan struct{}), seen: map[string]string{}, more: make(chan struct{})}
	p.cmd = exec.Command(path, args...)
	p.cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "OFFHOOK_LOG_FORMAT=json"}, env...)
	p.cmd.Dir = t.TempDir()
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		p.read(stderr)
		p.err = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			_ = p.cmd.Process.Kill() // it may have ended just now
			<-p.done
		}
		if t.Failed() {
			p.mu.Lock()
			defer p.mu.Unlock()
			t.Logf("log of %s, its last lines:\n%s", p.name, strings.Join(p.lines[max(0, len(p.lines)-40):], "\n"))
		}
	})
	return p
}

func (p *process) read(r io.Reader) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Msg, URL string }
		_ = json.Unmarshal(lines.Bytes(), &line) // a line of another kind has no message
		p.mu.Lock()
		p.lines = append(p.lines, lines.Text())
		if line.Msg != "" {
			p.seen[line.Msg] = line.URL
		}
		close(p.more)
		p.more = make(chan struct{})
		p.mu.Unlock()
	}
}

// logged waits until the process has logged a message and returns its url.
func (p *process) logged(message string) string {
	p.t.Helper()
	timeout := time.After(patience)
	for {
		p.mu.Lock()
		url, ok := p.seen[message]
		more := p.more
		p.mu.Unlock()
		if ok {
			return url
		}
		select {
		case <-more:
		case <-p.done:
			p.t.Fatalf("%s ended (%v) before it logged %q", p.name, p.err, message)
		case <-timeout:
			p.t.Fatalf("%s did not log %q within %s", p.name, message, patience)
		}
	}
}

// terminate sends SIGTERM and wants a clean exit.
func (p *process) terminate() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatalf("SIGTERM to %s: %v", p.name, err)
	}
	select {
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatalf("%s did not end within %s of SIGTERM", p.name, patience)
	}
	if p.err != nil {
		p.t.Errorf("%s ended with %v", p.name, p.err)
	}
}

// pause sends SIGSTOP: the process is there and does nothing.
func (p *process) pause() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		p.t.Fatalf("SIGSTOP to %s: %v", p.name, err)
	}
}

// resume sends SIGCONT.
func (p *process) resume() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		p.t.Fatalf("SIGCONT to %s: %v", p.name, err)
	}
}

// kill sends SIGKILL.
func (p *process) kill() {
	p.t.Helper()
	if err := p.cmd.Process.Kill(); err != nil {
		p.t.Fatalf("SIGKILL to %s: %v", p.name, err)
	}
	<-p.done
}

// within is a context for one wait of a test, which may have to sit out an outage.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience+2**faultOutage, errors.New("the test lost its patience"))
	t.Cleanup(cancel)
	return ctx
}
