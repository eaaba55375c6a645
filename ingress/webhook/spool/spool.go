package spool

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/semaphore"

	"github.com/offhook/offhook/messages"
)

// ErrFull is in the chain of what Append returns when MaxBytes are reached.
var ErrFull = errors.New("the spool is full")

// ErrClosed is in the chain of what every method returns after Close.
var ErrClosed = errors.New("the spool is closed")

// Spool is a durable queue of envelopes in one directory. It is safe for concurrent
// use, and must be closed.
type Spool struct {
	cfg  Config
	log  *slog.Logger
	disk disk
	lock *flock.Flock

	notEmpty chan struct{} // holds a value: something was appended since it was taken
	room     *semaphore.Weighted
	io       chan struct{}   // held by whoever changes the active segment or removes one
	drain    chan struct{}   // held by the Drain under way
	life     context.Context // ends with Close, which no caller's context knows of
	writer   sync.WaitGroup
	shut     func() error

	active      *active // guarded by io; the segment that is appended to, nil when there is none
	buf         []byte  // guarded by io
	lastCreated uint64  // guarded by io; the number of the newest segment
	failing     bool    // guarded by io; the last commit failed, which was logged

	mu       sync.Mutex
	work     sync.Cond // queue is not empty, or closed
	closed   bool
	queue    []*request // oldest first, not yet taken by the writer
	reserved int64      // bytes that the queue and the commit under way will take at most
	segments []*segment // oldest first; the active one is the last
	left     int64      // bytes of files that are segments no more but could not be removed
	stats    Stats
	emptied  chan struct{} // closed: Events is 0
}

// Stats is what a Spool holds and has done since it was opened.
type Stats struct {
	Events   int       // envelopes that are durable and not yet known to be published
	Bytes    int64     // what the segments take on the disk
	Oldest   time.Time // arrival of the oldest of those envelopes; zero when there is none
	SetAside uint64    // pieces that could not be read: see the log for where they are
	Appended uint64    // envelopes whose append was durable
	Drained  uint64    // envelopes that publish reported stored
}

// Open locks the directory, making it if need be, and reads what an earlier process
// left there. It fails when another process has it, or when it cannot be written.
func Open(cfg Config, log *slog.Logger) (*Spool, error) { return open(cfg, log, osDisk{}) }

func open(cfg Config, log *slog.Logger, d disk) (*Spool, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if err := makeDir(d, cfg.Dir); err != nil {
		return nil, messages.FieldErrorf(messages.CodeUsage, dirSetting, "cannot make the spool's directory %s: %w", cfg.Dir, err)
	}
	lock := flock.New(filepath.Join(cfg.Dir, lockName))
	switch ok, err := lock.TryLock(); {
	case err != nil:
		return nil, messages.FieldErrorf(messages.CodeUsage, dirSetting, "cannot lock the spool %s: %w", cfg.Dir, err)
	case !ok:
		return nil, messages.FieldErrorf(messages.CodeUsage, dirSetting, "the spool %s is in use by another offhook; stop it or name another directory", cfg.Dir)
	}
	life, die := context.WithCancel(context.Background())
	s := &Spool{
		cfg:      cfg,
		log:      log,
		disk:     d,
		lock:     lock,
		notEmpty: make(chan struct{}, 1),
		room:     semaphore.NewWeighted(maxQueued),
		io:       make(chan struct{}, 1),
		drain:    make(chan struct{}, 1),
		life:     life,
		emptied:  make(chan struct{}),
	}
	close(s.emptied)
	s.work.L = &s.mu
	s.shut = sync.OnceValue(func() error { return s.close(die) })
	if err := s.load(); err != nil {
		die()
		return nil, errors.Join(err, s.unlock())
	}
	s.writer.Go(s.write)
	return s, nil
}

// Close waits for the appends under way and lets everything else return ErrClosed; a
// Drain is waited for as well, so publish must heed its context. What is not drained
// stays for the next Open.
func (s *Spool) Close() error { return s.shut() }

func (s *Spool) close(die context.CancelFunc) error {
	s.mu.Lock()
	s.closed = true
	s.work.Broadcast()
	s.mu.Unlock()
	s.writer.Wait()
	die()
	s.drain <- struct{}{} // for good
	if s.active != nil {
		s.finishActive()
	}
	if at := s.head(); at.segment != nil && at.next == at.end {
		s.retire(at.segment) // it would be published again
	}
	return s.unlock()
}

func (s *Spool) unlock() error {
	if err := s.lock.Unlock(); err != nil {
		return fmt.Errorf("spool %s not unlocked; the end of the process does it: %w", s.cfg.Dir, err)
	}
	return nil
}

// NotEmpty has a value once something was appended since the last value was taken, or
// was there when the spool was opened. It is for one loop: take it, Drain, and as
// long as Drain fails try again.
func (s *Spool) NotEmpty() <-chan struct{} { return s.notEmpty }

// Empty reports whether everything whose Append has returned is published. It costs a
// mutex and no I/O.
func (s *Spool) Empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stats.Events == 0
}

// AwaitEmpty returns nil once the spool is empty, or why it waits no longer.
func (s *Spool) AwaitEmpty(ctx context.Context) error {
	s.mu.Lock()
	emptied := s.emptied
	s.mu.Unlock()
	select {
	case <-emptied: // whatever else has happened
		return nil
	default:
	}
	select {
	case <-emptied:
		return nil
	case <-s.life.Done():
		return fmt.Errorf("wait for an empty spool: %w", ErrClosed)
	case <-ctx.Done():
		return fmt.Errorf("wait for an empty spool: %w", context.Cause(ctx))
	}
}

// Stats is a snapshot; it costs no I/O.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Bytes = s.bytes()
	return st
}

// bytes is what is on the disk and counts. The caller holds mu.
func (s *Spool) bytes() int64 {
	n := s.left
	for _, seg := range s.segments {
		n += seg.size
	}
	return n
}

// count changes the number of events. The caller holds mu.
func (s *Spool) count(change int) {
	if change == 0 {
		return
	}
	before := s.stats.Events
	s.stats.Events += change
	switch {
	case s.stats.Events == 0:
		s.stats.Oldest = time.Time{}
		close(s.emptied)
	case before == 0:
		s.emptied = make(chan struct{})
	}
}

// notify lets the drain loop know.
func (s *Spool) notify() {
	select {
	case s.notEmpty <- struct{}{}:
	default:
	}
}
