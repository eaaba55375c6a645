package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"time"

	"github.com/offhook/offhook/messages"
)

// maxQueued bounds the bytes in memory that wait for the disk; beyond it Append waits
// for room, as long as its context allows.
const maxQueued = 16 << 20

// request is one Append on its way to the disk.
type request struct {
	records []byte
	events  int
	first   time.Time     // arrival of the first
	done    chan struct{} // closed once err says how it went
	err     error
}

// cost is what a request may take on the disk: it may be the first of a segment.
func (r *request) cost() int64 { return headerBytes + int64(len(r.records)) }

// active is the segment that is appended to.
type active struct {
	*segment
	file file
}

// Append returns nil once all of envs are durable, in this order and next to each
// other. Whoever appends at the same time shares an fsync.
//
// An error in whose chain is ErrFull, or ErrClosed, or whose code is CodeInvalid or
// CodeTooLarge, means that none of envs is there. After any other error they may be:
// when ctx ends first they go on to the disk and are drained like all others.
func (s *Spool) Append(ctx context.Context, envs ...messages.Envelope) error {
	if len(envs) == 0 {
		return nil
	}
	if ctx.Err() != nil {
		return interrupted(ctx, "nothing was spooled")
	}
	r := &request{events: len(envs), first: envs[0].Arrived, done: make(chan struct{})}
	for _, env := range envs {
		var err error
		if r.records, err = appendRecord(r.records, env); err != nil {
			return err
		}
	}
	if r.cost() > maxQueued {
		return messages.Errorf(messages.CodeTooLarge, "spool: %d events at once take %d bytes, more than %d; append them in parts", r.events, r.cost(), maxQueued)
	}
	if err := s.room.Acquire(ctx, r.cost()); err != nil {
		return interrupted(ctx, "nothing was spooled: the disk does not keep up")
	}
	if err := s.enqueue(r); err != nil {
		s.room.Release(r.cost())
		return err
	}
	select {
	case <-r.done:
		return r.err
	case <-ctx.Done():
	}
	select {
	case <-r.done: // both: what is durable is said to be
		return r.err
	default:
		return interrupted(ctx, "the disk has not confirmed it, the events may be spooled")
	}
}

func interrupted(ctx context.Context, what string) error {
	return messages.Errorf(messages.CodeTimeout, "spool: %s: %w", what, context.Cause(ctx))
}

func (s *Spool) enqueue(r *request) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return messages.Errorf(messages.CodeUnavailable, "append: %w", ErrClosed)
	}
	if have := s.bytes() + s.reserved; have+r.cost() > s.cfg.MaxBytes {
		return messages.FieldErrorf(messages.CodeUnavailable, sizeSetting, "%w: %s holds %d of %d bytes; bring NATS back or allow more", ErrFull, s.cfg.Dir, have, s.cfg.MaxBytes)
	}
	s.reserved += r.cost()
	s.queue = append(s.queue, r)
	s.work.Signal()
	return nil
}

// write commits what is queued until the spool is closed and nothing is left.
func (s *Spool) write() {
	for {
		s.mu.Lock()
		for len(s.queue) == 0 && !s.closed {
			s.work.Wait()
		}
		over := len(s.queue) == 0
		s.mu.Unlock()
		if over {
			return
		}
		s.io <- struct{}{}
		s.commit(s.take())
		<-s.io
	}
}

// take removes from the queue what goes to the disk together: as much as the active
// segment has room for, or the first request and with it a new segment. The caller
// holds io.
func (s *Spool) take() []*request {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != nil && s.active.size+int64(len(s.queue[0].records)) > s.cfg.SegmentBytes {
		s.finishActive()
	}
	room := s.cfg.SegmentBytes - headerBytes
	if s.active != nil {
		room = s.cfg.SegmentBytes - s.active.size
	}
	n := 0
	for _, r := range s.queue {
		if room -= int64(len(r.records)); n > 0 && room < 0 {
			break
		}
		n++
	}
	group := s.queue[:n:n]
	s.queue = s.queue[n:]
	return group
}

// finishActive ends the active segment; everything in it is durable. The caller
// holds io.
func (s *Spool) finishActive() {
	if err := s.active.file.Close(); err != nil {
		s.log.Warn("spool segment not closed", "segment", s.active.name(), "error", err)
	}
	s.active = nil
}

// commit makes a group durable and tells everyone in it how it went. The caller
// holds io.
func (s *Spool) commit(group []*request) {
	err := s.store(group)
	var cost int64
	s.mu.Lock()
	for _, r := range group {
		cost += r.cost()
	}
	s.reserved -= cost
	s.mu.Unlock()
	switch {
	case err == nil:
		if s.failing {
			s.log.Info("spool can write again", "dir", s.cfg.Dir)
		}
		s.notify()
	case !s.failing: // one line for an outage of the disk, not one for each event
		s.log.Error("spool cannot write; events are refused until it can", "dir", s.cfg.Dir, "error", err)
	}
	s.failing = err != nil
	if err != nil {
		err = messages.Errorf(messages.CodeUnavailable, "spool: cannot write to %s: %w", s.cfg.Dir, err)
	}
	for _, r := range group {
		r.err = err
		close(r.done)
	}
	s.room.Release(cost)
}

// store writes and syncs a group, in the active segment or a new one.
func (s *Spool) store(group []*request) error {
	b := s.buf[:0]
	fresh := s.active == nil
	if fresh {
		if err := s.create(); err != nil {
			return err
		}
		b = append(b, s.active.salt.header()...)
	}
	skip := len(b)
	events := 0
	for _, r := range group {
		b = append(b, r.records...)
		events += r.events
	}
	s.active.salt.seal(b[skip:], s.active.size+int64(skip))
	s.buf = b
	if cap(b) > 1<<20 {
		s.buf = nil // a rare size is not kept
	}
	_, err := s.active.file.Write(b)
	if err == nil {
		err = s.active.file.Sync()
	}
	if err == nil && fresh {
		err = s.disk.syncDir(s.cfg.Dir)
	}
	if err != nil {
		s.giveUp(len(b))
		return err
	}

	s.mu.Lock()
	defer s.mu.Unlock()
	seg := s.active.segment
	if fresh {
		seg.next = headerBytes
		s.segments = append(s.segments, seg)
	}
	seg.size += int64(len(b))
	seg.synced = seg.size
	seg.events += events
	if s.stats.Events == 0 {
		s.stats.Oldest = group[0].first
	}
	s.stats.Appended += uint64(events) //nolint:gosec // a number of envelopes
	s.count(events)
	return nil
}

// create begins a segment. It is not among the segments before something in it is
// durable.
func (s *Spool) create() error {
	s.lastCreated++
	path := filepath.Join(s.cfg.Dir, segmentName(s.lastCreated))
	f, err := s.disk.open(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return err
	}
	s.active = &active{segment: &segment{path: path, salt: newSalt()}, file: f}
	return nil
}

// giveUp ends the active segment after a failed write or fsync of n bytes: nobody
// knows which of them are on the disk, now or after a crash. They are cut off if that
// works; Drain does not read them in any case.
func (s *Spool) giveUp(n int) {
	seg := s.active.segment
	kept := seg.size + int64(n)
	err := s.active.file.Truncate(seg.synced)
	if err == nil {
		kept = seg.synced
	}
	err = errors.Join(err, s.active.file.Close())
	s.active = nil
	if seg.synced == 0 { // a new one: nothing in it was ever durable
		if e := s.disk.remove(seg.path); e == nil {
			kept = 0
		} else {
			err = errors.Join(err, e)
		}
		err = errors.Join(err, s.disk.syncDir(s.cfg.Dir))
	}
	if err != nil {
		s.log.Warn("spool: what a failed write left behind could not be removed; it may be published", "segment", seg.name(), "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if seg.synced == 0 {
		s.left += kept
		return
	}
	seg.size = kept
}
