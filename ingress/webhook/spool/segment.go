package spool

import (
	"errors"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const (
	segmentSuffix = ".spool"
	tornSuffix    = ".torn"
)

// segment is one file of records. Its path and salt never change, synced and size
// grow while it is the active one; all else is Drain's. Spool.mu guards every field.
type segment struct {
	path   string
	salt   salt
	size   int64 // what it takes on the disk
	synced int64 // the end of what is durable; nothing behind it is read
	next   int64 // the offset of what is to be published next
	events int   // records between next and synced

	aside    map[int64]bool // offsets of the pieces that were set aside, by this process
	keep     keeping
	failures int // in a row, to open or to read it
}

// keeping is what becomes of a segment that has been drained.
type keeping int

const (
	keepNothing keeping = iota // it is removed
	keepTorn                   // a part could not be copied: all of it becomes the .torn file
	keepInPlace                // the rest of it could not be read: the next Open tries again
)

func (s *segment) name() string { return filepath.Base(s.path) }

func (s *segment) torn() string { return s.path + tornSuffix }

func segmentName(number uint64) string { return fmt.Sprintf("%020d", number) + segmentSuffix }

// parseName reads the name of a segment or of a .torn file.
func parseName(name string) (number uint64, torn, ok bool) {
	digits, torn := strings.CutSuffix(name, tornSuffix)
	digits, ok = strings.CutSuffix(digits, segmentSuffix)
	if !ok || len(digits) != 20 {
		return 0, false, false
	}
	number, err := strconv.ParseUint(digits, 10, 64)
	return number, torn, err == nil && segmentName(number) == digits+segmentSuffix
}

// remember notes that the piece at an offset is set aside; false: it was already.
func (s *segment) remember(at int64) bool {
	if s.aside[at] {
		return false
	}
	if s.aside == nil {
		s.aside = make(map[int64]bool)
	}
	s.aside[at] = true
	return true
}

var errSegmentHeader = errors.New("its header is damaged or not offhook's")
