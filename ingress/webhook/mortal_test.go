package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/ingress/webhook/spool"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// errCrashed is what everything returns in a process that has crashed.
var errCrashed = errors.New("the process has crashed")

// process counts the steps of one life of an ingress, and ends it at one of them:
// from then on nothing that it does has an effect.
type process struct {
	mu      sync.Mutex
	left    int // steps until the crash
	steps   []string
	crashed chan struct{}
}

func newProcess(steps int) *process { return &process{left: steps, crashed: make(chan struct{})} }

// step reports whether the process lives on.
func (p *process) step(format string, args ...any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.dead() {
		return false
	}
	p.steps = append(p.steps, fmt.Sprintf(format, args...))
	if p.left--; p.left <= 0 {
		close(p.crashed)
		return false
	}
	return true
}

func (p *process) dead() bool {
	_, dead := poll(p.crashed)
	return dead
}

func (p *process) history() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.steps, ", ")
}

// act does one thing between two steps.
func (p *process) act(what string, f func() error) error {
	if !p.step("before %s", what) {
		return errCrashed
	}
	err := f()
	if !p.step("after %s (%v)", what, err != nil) {
		return errCrashed
	}
	return err
}

// way is what the stream does with an event of a test.
type way string

const (
	wayOK          way = "ok"
	wayAway        way = "away"        // no connection
	wayRefused     way = "refused"     // the PubAck is an error
	wayUnconfirmed way = "unconfirmed" // stored, but the PubAck is lost
	wayUntold      way = "untold"      // stored and confirmed, but no report is taken
)

// mortalBus is the real bus in a process that can crash, with a stream that can be
// made to misbehave.
type mortalBus struct {
	*bus.Bus
	*process
	mu  sync.Mutex
	way way
}

func (b *mortalBus) set(w way) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.way = w
}

func (b *mortalBus) is(w way) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.way == w
}

func (b *mortalBus) Connected() bool { return !b.dead() && !b.is(wayAway) && b.Bus.Connected() }

func (b *mortalBus) Ask(env messages.Envelope) (*bus.Pending, error) {
	var p *bus.Pending
	err := b.act("ask", func() (err error) {
		if b.is(wayRefused) {
			stored := make(chan error, 1)
			stored <- errFull
			p = &bus.Pending{Stored: stored}
			return nil
		}
		p, err = b.Bus.Ask(env)
		return err
	})
	if err != nil {
		return nil, err
	}
	time.AfterFunc(2*shortWindow, p.Close) // the bus writes to p until then: a copy would race
	stored, replies := make(chan error, 1), make(chan messages.Reply, 1)
	ended := b.crashed
	if unconfirmed := b.is(wayUnconfirmed); !unconfirmed {
		go func() {
			select {
			case err := <-p.Stored:
				if !b.step("PubAck") {
					err = errCrashed
				}
				stored <- err
			case <-ended:
				stored <- errCrashed
			}
		}()
	} else {
		context.AfterFunc(closedContext(ended), func() { stored <- errCrashed })
	}
	if p.Reply != nil {
		go func() {
			select {
			case r := <-p.Reply:
				if b.step("reply") {
					replies <- r
				}
			case <-ended:
			case <-time.After(2 * shortWindow): // nobody asks any more
			}
		}()
	}
	return &bus.Pending{Stored: stored, Reply: replies}, nil
}

// closedContext ends when ch is closed, or long after any window.
func closedContext(ch <-chan struct{}) context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer cancel()
		select {
		case <-ch:
		case <-time.After(2 * shortWindow):
		}
	}()
	return ctx
}

func (b *mortalBus) Tell(ctx context.Context, env messages.Envelope) error {
	return b.act("tell "+string(env.Kind), func() error {
		if b.is(wayUntold) {
			return errFull
		}
		return b.Bus.Tell(ctx, env)
	})
}

func (b *mortalBus) TellAll(ctx context.Context, envs []messages.Envelope) (stored int, err error) {
	err = b.act("publish from the spool", func() error {
		if b.is(wayRefused) {
			return errFull
		}
		stored, err = b.Bus.TellAll(ctx, envs)
		return err
	})
	if err != nil {
		stored = 0
	}
	return stored, err
}

// mortalSpool is the real spool in a process that can crash.
type mortalSpool struct {
	*spool.Spool
	*process
}

func (s *mortalSpool) Append(ctx context.Context, envs ...messages.Envelope) error {
	return s.act("append", func() error { return s.Spool.Append(ctx, envs...) })
}

// mortalWriter is a connection to TeleSign. What was written before the crash has
// been heard.
type mortalWriter struct {
	*httptest.ResponseRecorder
	*process
	heard bool
}

func (w *mortalWriter) Write(p []byte) (int, error) {
	if !w.step("before the answer") {
		return 0, errCrashed
	}
	w.heard = true
	n, err := w.ResponseRecorder.Write(p)
	w.step("after the answer")
	return n, err
}
