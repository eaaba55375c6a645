package spool

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"

	"github.com/offhook/offhook/messages"
)

const (
	lockName  = "lock"
	probeName = "probe"
)

// load reads what an earlier process left. It fails only when the directory cannot
// be used; a file that is not as it should be never keeps the others from being
// drained.
func (s *Spool) load() error {
	if err := s.probe(); err != nil {
		return messages.FieldErrorf(messages.CodeUsage, dirSetting, "the spool %s cannot be written: %w", s.cfg.Dir, err)
	}
	entries, err := os.ReadDir(s.cfg.Dir) // sorted by name, and thereby by number
	if err != nil {
		return messages.FieldErrorf(messages.CodeUsage, dirSetting, "cannot read the spool %s: %w", s.cfg.Dir, err)
	}
	for _, e := range entries {
		number, torn, ok := parseName(e.Name())
		switch {
		case e.Name() == lockName || e.Name() == probeName:
			continue
		case !ok || !e.Type().IsRegular():
			s.log.Warn("spool: this is not offhook's and is left alone", "dir", s.cfg.Dir, "name", e.Name())
			continue
		}
		s.lastCreated = max(s.lastCreated, number)
		if torn {
			s.log.Warn("spool: set aside earlier, for an operator to look at", "file", filepath.Join(s.cfg.Dir, e.Name()))
			continue
		}
		s.examine(&segment{path: filepath.Join(s.cfg.Dir, e.Name())})
	}
	if len(s.segments) > 0 {
		st := s.Stats()
		s.log.Info("spool holds events of an earlier process", "dir", s.cfg.Dir, "events", st.Events, "bytes", st.Bytes, "set_aside", st.SetAside)
		s.notify()
	}
	return nil
}

// probe finds out now rather than in an outage whether the directory can be written.
// A full disk is no reason not to begin: draining makes room.
func (s *Spool) probe() error {
	path := filepath.Join(s.cfg.Dir, probeName)
	f, err := s.disk.open(path, os.O_WRONLY|os.O_CREATE)
	if err == nil {
		err = errors.Join(f.Close(), s.disk.remove(path))
	}
	if errors.Is(err, syscall.ENOSPC) {
		s.log.Error("spool: the disk is full; nothing can be spooled until there is room", "dir", s.cfg.Dir, "error", err)
		return nil
	}
	return err
}

// examine counts what is in a segment, sets aside what is damaged and puts the rest
// in line.
func (s *Spool) examine(seg *segment) {
	f, err := s.disk.open(seg.path, os.O_RDONLY)
	if err != nil {
		s.leave(seg, err)
		if info, err := os.Stat(seg.path); err == nil {
			s.left += info.Size()
		}
		return
	}
	defer func() { _ = f.Close() }() // it was only read
	info, err := f.Stat()
	if err != nil {
		s.leave(seg, err)
		return
	}
	seg.size = info.Size()
	err = s.scan(seg, f)
	switch {
	case errors.Is(err, errSegmentHeader):
		s.mu.Lock()
		s.stats.SetAside++
		s.mu.Unlock()
		seg.keep = keepTorn
		s.log.Error("spool: a segment cannot be read and is set aside", "segment", seg.name(), "bytes", seg.size, "copy", seg.torn(), "reason", err)
	case err != nil: // what was read before it is drained
		s.leave(seg, err)
	}
	s.mu.Lock()
	s.segments = append(s.segments, seg)
	s.count(seg.events)
	s.mu.Unlock()
	if seg.events == 0 {
		s.dropLast(seg)
	}
}

// scan reads a segment from begin to end.
func (s *Spool) scan(seg *segment, f file) error {
	if seg.size == 0 { // the process died when it had made the file, and dropLast removes it
		return nil
	}
	header := make([]byte, headerBytes)
	if _, err := f.ReadAt(header, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	var ok bool
	if seg.salt, ok = saltOf(header); !ok {
		return errSegmentHeader
	}
	seg.next, seg.synced = headerBytes, headerBytes
	for r := readSegment(f, seg.salt, seg.next, seg.size); ; {
		p, err := r.next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		seg.synced = p.end
		if p.damaged {
			s.setAside(seg, f, p, errDamaged)
			continue
		}
		seg.events++
		if s.stats.Oldest.IsZero() {
			if env, err := decode(p.payload); err == nil {
				s.stats.Oldest = env.Arrived
			}
		}
	}
}

// dropLast takes a segment without a record out again.
func (s *Spool) dropLast(seg *segment) {
	before := s.segments[:len(s.segments)-1]
	s.segments = []*segment{seg}
	s.retire(seg)
	s.segments = before
}
