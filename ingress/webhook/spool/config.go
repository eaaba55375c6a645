package spool

import (
	"github.com/offhook/offhook/messages"
)

// The settings that operators change when a message tells them to.
const (
	dirSetting  = "--data (OFFHOOK_DATA)"
	sizeSetting = "--spool-size (OFFHOOK_SPOOL_SIZE)"
)

// Config is where and how much a Spool keeps. Zero fields take the values of
// WithDefaults; only Dir must be given.
type Config struct {
	Dir string // for one process alone; made if need be, below a directory of the operator's

	// MaxBytes is how much the segments may take on the disk; beyond it Append gives
	// ErrFull. A drained segment frees its place as a whole. What was set aside does
	// not count. Default 1 GiB.
	MaxBytes int64
	// SegmentBytes is how long a segment gets, and thereby how much is published
	// again after a crash; default 8 MiB, or an eighth of MaxBytes if that is less.
	SegmentBytes int64
	// Batch is how many envelopes publish is given at once; default 256. A batch ends
	// early at 1 MiB.
	Batch int
}

// WithDefaults is c with every zero field set to its default.
func (c Config) WithDefaults() Config {
	if c.MaxBytes == 0 {
		c.MaxBytes = 1 << 30
	}
	if c.SegmentBytes == 0 {
		c.SegmentBytes = max(1, min(8<<20, c.MaxBytes/8))
	}
	if c.Batch == 0 {
		c.Batch = 256
	}
	return c
}

// Validate checks every field; the error names the first bad one and its value.
func (c Config) Validate() error {
	switch {
	case c.Dir == "":
		return messages.FieldErrorf(messages.CodeUsage, "Dir", "is empty; give the directory of the spool")
	case c.MaxBytes <= 0:
		return messages.FieldErrorf(messages.CodeUsage, "MaxBytes", "is %d, want a positive number of bytes", c.MaxBytes)
	case c.SegmentBytes <= 0:
		return messages.FieldErrorf(messages.CodeUsage, "SegmentBytes", "is %d, want a positive number of bytes", c.SegmentBytes)
	case c.Batch <= 0:
		return messages.FieldErrorf(messages.CodeUsage, "Batch", "is %d, want a positive number of envelopes", c.Batch)
	}
	return nil
}
