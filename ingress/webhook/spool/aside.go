package spool

import (
	"errors"
	"io"
	"os"
)

var errDamaged = errors.New("its checksum does not match")

// setAside copies a piece of a segment to the .torn file, unless this process did so
// before. The segment stays as it is until it has been drained, so a crash in between
// costs a second copy at most.
func (s *Spool) setAside(seg *segment, src io.ReaderAt, p piece, why error) {
	s.mu.Lock()
	first := len(seg.aside) == 0
	fresh := seg.remember(p.at)
	if fresh {
		s.stats.SetAside++
		if !p.damaged { // it was counted as an event
			seg.events--
			s.count(-1)
		}
	}
	s.mu.Unlock()
	if !fresh {
		return
	}
	err := s.copyAside(seg, io.NewSectionReader(src, p.at, p.end-p.at), first)
	if err != nil {
		s.mu.Lock()
		seg.keep = max(seg.keep, keepTorn)
		s.mu.Unlock()
		s.log.Error("spool: cannot copy what cannot be read; the whole segment becomes the .torn file once it is drained", "segment", seg.name(), "error", err)
	}
	s.log.Error("spool: a part of a segment cannot be read and is set aside", "segment", seg.name(), "offset", p.at, "bytes", p.end-p.at, "copy", seg.torn(), "reason", why)
}

func (s *Spool) copyAside(seg *segment, piece io.Reader, first bool) error {
	flag := os.O_WRONLY | os.O_CREATE | os.O_APPEND
	if first {
		flag |= os.O_TRUNC // an earlier process's copy of the same segment
	}
	f, err := s.disk.open(seg.torn(), flag)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, piece)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil && first {
		err = s.disk.syncDir(s.cfg.Dir)
	}
	return err
}

// leave notes that the rest of a segment stays where it is.
func (s *Spool) leave(seg *segment, err error) {
	s.mu.Lock()
	seg.keep = keepInPlace
	s.stats.SetAside++
	s.mu.Unlock()
	s.log.Error("spool: a segment cannot be read; it stays where it is and the next start tries again", "segment", seg.name(), "error", err)
}
