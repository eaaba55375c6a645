package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/offhook/offhook/messages"
)

// How long a process may take to be ready, and to end once it was asked to.
const (
	startWithin = 30 * time.Second
	endWithin   = 5 * time.Second
)

// keptLines is how much of a process' log an error shows.
const keptLines = 20

// process is one process of a run.
type process struct {
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, once done is closed
	in   io.WriteCloser
	out  io.ReadCloser

	mu   sync.Mutex
	tail []string
}

// command says how to start a process.
type command struct {
	name    string
	argv    []string
	env     []string
	dir     string
	talks   bool              // its stdin and stdout are for talking to, not for its log
	isReady func(string) bool // of a line of its log; nil: at once
}

// startProcess starts a process and returns when it is ready. It ends with this
// process at the latest.
func startProcess(ctx context.Context, c command) (*process, error) {
	p := &process{name: c.name, cmd: exec.Command(c.argv[0], c.argv[1:]...), done: make(chan struct{})} //nolint:gosec,noctx // our own program and redis-server, ended by end
	p.cmd.Env, p.cmd.Dir, p.cmd.SysProcAttr = c.env, c.dir, apart()
	logs, write, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", c.name, err)
	}
	p.cmd.Stderr = write
	if c.talks {
		if p.in, err = p.cmd.StdinPipe(); err == nil {
			p.out, err = p.cmd.StdoutPipe()
		}
		if err != nil {
			return nil, errors.Join(fmt.Errorf("start %s: %w", c.name, err), logs.Close(), write.Close())
		}
	} else {
		p.cmd.Stdout = write
	}
	started, ready := make(chan error, 1), make(chan struct{})
	go func() {
		// The kernel ties the process' life to the thread that started it, so this
		// goroutine keeps that thread until the process has ended.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(p.done)
		err := p.cmd.Start()
		_ = write.Close() // the process has its own
		started <- err
		if err == nil {
			p.read(logs, ready, c.isReady)
			p.err = p.cmd.Wait()
		}
		_ = logs.Close()
	}()
	if err := <-started; err != nil {
		return nil, messages.Errorf(messages.CodeUnavailable, "start %s: %w", c.name, err)
	}
	if c.isReady == nil {
		return p, nil
	}
	timeout := time.NewTimer(startWithin)
	defer timeout.Stop()
	select {
	case <-ready:
		return p, nil
	case <-p.done:
		return nil, messages.Errorf(messages.CodeUnavailable, "%s ended at once: %w", c.name, p.failure())
	case <-ctx.Done():
		err = context.Cause(ctx)
	case <-timeout.C:
		err = messages.Errorf(messages.CodeTimeout, "%s was not ready within %s; its log ends with\n%s", c.name, startWithin, p.log())
	}
	p.kill()
	return nil, err
}

func (p *process) read(logs io.Reader, ready chan<- struct{}, isReady func(string) bool) {
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		p.mu.Lock()
		p.tail = append(p.tail[max(0, len(p.tail)-keptLines+1):], line)
		p.mu.Unlock()
		if isReady != nil && isReady(line) {
			isReady = nil
			close(ready)
		}
	}
	_, _ = io.Copy(io.Discard, logs) // after a line without an end: never block the process
}

func (p *process) log() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.tail, "\n")
}

// failure is how a process ended that should not have; nil while it runs.
func (p *process) failure() error {
	select {
	case <-p.done:
		how := p.err
		if how == nil {
			how = errors.New("exit status 0")
		}
		return fmt.Errorf("%w; its log ends with\n%s", how, p.log())
	default:
		return nil
	}
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// end asks the process to end, and kills it when it does not.
func (p *process) end() {
	if p.in != nil {
		_ = p.in.Close() // the load generator ends when there are no more orders
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it fails only if the process has ended
	timeout := time.NewTimer(endWithin)
	defer timeout.Stop()
	select {
	case <-p.done:
	case <-timeout.C:
		p.kill()
	}
}

func (p *process) kill() {
	_ = p.cmd.Process.Kill() // as above
	<-p.done
}

// processes are all processes of a run.
type processes struct{ list []*process }

func (ps *processes) start(ctx context.Context, c command) (*process, error) {
	p, err := startProcess(ctx, c)
	if err == nil {
		ps.list = append(ps.list, p)
	}
	return p, err
}

// end ends them, the last started first.
func (ps *processes) end() {
	for _, p := range slices.Backward(ps.list) {
		p.end()
	}
	ps.list = nil
}

// failures is how those ended that should still run.
func (ps *processes) failures() error {
	var all []error
	for _, p := range ps.list {
		if err := p.failure(); err != nil {
			all = append(all, fmt.Errorf("%s: %w", p.name, err))
		}
	}
	return errors.Join(all...)
}

// logged is a readiness that waits for a message of a JSON log, and remembers the
// url that a line named; any line if message is empty.
func logged(message string, url *string) func(string) bool {
	return func(line string) bool {
		var l struct{ Msg, URL string }
		if json.Unmarshal([]byte(line), &l) != nil {
			return false
		}
		if l.URL != "" && url != nil && (*url == "" || l.Msg == listeningMessage) {
			*url = l.URL
		}
		return l.Msg == message
	}
}
