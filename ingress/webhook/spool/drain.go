package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/offhook/offhook/messages"
)

const (
	maxBatchBytes = 1 << 20 // of bodies and headers in one batch, but for its last envelope
	maxFailures   = 3       // reads of a segment that fail in a row before the others go on without it
)

// PartialError is what publish may return to say that the first Stored envelopes of
// its batch are stored and need not be published again.
type PartialError struct {
	Stored int
	Err    error
}

func (e *PartialError) Error() string {
	return fmt.Sprintf("only the first %d were stored: %v", e.Stored, e.Err)
}

func (e *PartialError) Unwrap() error { return e.Err }

// Drain gives the envelopes to publish, oldest first, in batches, and removes a
// segment once all of it is published. What is appended meanwhile is drained too.
// It returns nil when nothing is left and nobody appends to the last segment, so under
// steady traffic Empty is true some time before Drain returns; otherwise what publish
// returned, or why ctx ended. A second Drain waits for the first.
//
// publish owns the slice. It returns nil when all of them are stored; otherwise they
// are published again by the next Drain, all but the prefix that a PartialError names.
// They are as they were appended, but Late, and nobody waits for a reply any more.
func (s *Spool) Drain(ctx context.Context, publish func(ctx context.Context, envs []messages.Envelope) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(s.life, func() { cancel(ErrClosed) })() //nolint:contextcheck // the two are joined here
	select {
	case s.drain <- struct{}{}:
		defer func() { <-s.drain }()
	case <-ctx.Done():
		return fmt.Errorf("drain: %w", context.Cause(ctx))
	}
	var c cursor
	defer c.close()
	for {
		at := s.head()
		if at.segment == nil {
			return nil
		}
		b, err := s.read(&c, at)
		switch {
		case err != nil:
			if err := s.unreadable(at, err); err != nil {
				return err
			}
			c.close()
			continue
		case ctx.Err() != nil: // only now, so that Stats knows the oldest
			return fmt.Errorf("drain: %w", context.Cause(ctx))
		case len(b.envs) == 0:
			if err := s.finish(ctx, &c, at); err != nil {
				return err
			}
			continue
		}
		err = publish(ctx, b.envs)
		s.advance(at.segment, b, err)
		if err != nil {
			return fmt.Errorf("drain: %w", errors.Join(context.Cause(ctx), err))
		}
	}
}

// position is where the oldest envelope is, and how far can be read.
type position struct {
	*segment
	next, end int64
}

// head is the position of the oldest envelope; its segment is nil when there is none.
func (s *Spool) head() position {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.segments) == 0 {
		return position{}
	}
	seg := s.segments[0]
	return position{segment: seg, next: seg.next, end: seg.synced}
}

// cursor is what Drain keeps open between two batches.
type cursor struct {
	segment *segment
	file    file
	reader  *reader
}

func (c *cursor) close() {
	if c.file != nil {
		_ = c.file.Close() // it was only read
	}
	*c = cursor{}
}

// seek makes the cursor read from a position on.
func (c *cursor) seek(d disk, at position) error {
	if c.segment != at.segment {
		c.close()
		f, err := d.open(at.path, os.O_RDONLY)
		if err != nil {
			return err
		}
		c.segment, c.file = at.segment, f
	}
	if c.reader == nil || c.reader.at != at.next || c.reader.end != at.end {
		c.reader = readSegment(c.file, at.salt, at.next, at.end)
	}
	return nil
}

// batch is what publish gets at once.
type batch struct {
	envs     []messages.Envelope
	ends     []int64 // offset behind each
	arrivals []time.Time
}

// read is the next batch; it is empty when nothing is left up to at.end. Pieces that
// cannot be read are set aside on the way.
func (s *Spool) read(c *cursor, at position) (batch, error) {
	var b batch
	if err := c.seek(s.disk, at); err != nil {
		return b, err
	}
	for size := int64(0); len(b.envs) < s.cfg.Batch && size < maxBatchBytes; {
		p, err := c.reader.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return b, err
		}
		if p.damaged {
			s.setAside(at.segment, c.file, p, errDamaged)
			continue
		}
		env, err := decode(p.payload)
		if err != nil {
			s.setAside(at.segment, c.file, p, err)
			continue
		}
		env.Late, env.ReplyTo, env.Deadline = true, "", time.Time{}
		b.envs = append(b.envs, env)
		b.ends = append(b.ends, p.end)
		b.arrivals = append(b.arrivals, env.Arrived)
		size += p.end - p.at
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at.failures = 0
	if len(b.envs) > 0 {
		s.stats.Oldest = b.arrivals[0]
	}
	return b, nil
}

// advance notes what publish has stored of a batch.
func (s *Spool) advance(seg *segment, b batch, err error) {
	n := len(b.ends)
	var partial *PartialError
	if errors.As(err, &partial) {
		n = min(max(partial.Stored, 0), n)
	} else if err != nil {
		n = 0
	}
	if n == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	seg.next = b.ends[n-1]
	seg.events -= n
	if n < len(b.arrivals) {
		s.stats.Oldest = b.arrivals[n]
	}
	s.stats.Drained += uint64(n)
	s.count(-n)
}

// unreadable gives a segment a few more chances; then it is left in place, and nil
// lets the others go on.
func (s *Spool) unreadable(at position, err error) error {
	s.mu.Lock()
	at.failures++
	failures := at.failures
	s.mu.Unlock()
	if failures < maxFailures {
		return messages.Errorf(messages.CodeUnavailable, "drain: cannot read spool segment %s: %w", at.path, err)
	}
	s.leave(at.segment, err)
	s.io <- struct{}{}
	defer func() { <-s.io }()
	if s.active != nil && s.active.segment == at.segment {
		s.finishActive()
	}
	s.retire(at.segment)
	return nil
}

// finish removes a segment that is drained up to at.end, unless more has come. While
// appends wait for the active segment, it waits for one of them instead.
func (s *Spool) finish(ctx context.Context, c *cursor, at position) error {
	select {
	case s.io <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("drain: %w", context.Cause(ctx))
	}
	s.mu.Lock()
	more := at.synced > at.end
	var under *request
	if s.active != nil && s.active.segment == at.segment && len(s.queue) > 0 {
		under = s.queue[0]
	}
	s.mu.Unlock()
	if more || under != nil {
		<-s.io
		if more {
			return nil
		}
		select {
		case <-under.done:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("drain: %w", context.Cause(ctx))
		}
	}
	defer func() { <-s.io }()
	c.close()
	if s.active != nil && s.active.segment == at.segment {
		s.finishActive()
	}
	s.retire(at.segment)
	return nil
}

// retire takes the oldest segment, of which nothing is left to publish, out of the
// spool and off the disk. The caller holds io, or is the last user.
func (s *Spool) retire(seg *segment) {
	var err error
	switch seg.keep {
	case keepNothing:
		err = s.disk.remove(seg.path)
	case keepTorn:
		err = s.disk.rename(seg.path, seg.torn())
	case keepInPlace:
	}
	if errors.Is(err, os.ErrNotExist) { // somebody was faster
		err = nil
	}
	freed := err == nil && seg.keep != keepInPlace
	if freed {
		err = s.disk.syncDir(s.cfg.Dir)
	}
	if err != nil {
		s.log.Warn("spool segment not removed; what is in it is published again by the next process", "segment", seg.name(), "error", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.segments = s.segments[1:]
	if !freed {
		s.left += seg.size
	}
	s.count(-seg.events) // what was set aside since it was counted
}
