package bench

import (
	"time"

	"github.com/offhook/offhook/messages"
)

// Sync is when NATS and Redis sync what they store.
type Sync string

// The kinds of sync.
const (
	// SyncAlways is that of deploy/redis.conf and deploy/nats.conf: before anything is
	// acknowledged.
	SyncAlways Sync = "always"
	// SyncLater leaves the disk out of the measurement: Redis syncs once a second,
	// JetStream every two minutes.
	SyncLater Sync = "later"
)

// Config is what a run is told.
type Config struct {
	Rounds      int           // of each row; the result is their median
	Duration    time.Duration // of one round, after its warm-up
	Connections int           // each has one event under way
	Calls       int           // in Redis, for the cost with many calls; 0 leaves that out
	Sync        Sync
	Dir         string // where the engines keep their files; empty: the system's temporary directory
	Profile     string // a directory for CPU and allocation profiles of every process; empty: none

	// Program is the offhook program, with the arguments that every start of it
	// begins with.
	Program []string
	// Environ is what the processes inherit; variables of offhook are taken out.
	Environ []string
}

// Defaults are the settings of a run that is to be quoted.
func Defaults() Config {
	return Config{Rounds: 5, Duration: 5 * time.Second, Connections: 64, Calls: 1_000_000, Sync: SyncAlways}
}

// Validate names the first field that cannot work, and its value.
func (c Config) Validate() error {
	switch {
	case c.Rounds < 1:
		return messages.FieldErrorf(messages.CodeUsage, "rounds", "is %d, want 1 or more", c.Rounds)
	case c.Duration < 10*time.Millisecond:
		return messages.FieldErrorf(messages.CodeUsage, "duration", "is %s, want 10ms or more", c.Duration)
	case c.Connections < 1:
		return messages.FieldErrorf(messages.CodeUsage, "connections", "is %d, want 1 or more", c.Connections)
	case c.Calls != 0 && c.Calls < fewCalls:
		return messages.FieldErrorf(messages.CodeUsage, "calls", "is %d, want 0 (not measured) or %d and more", c.Calls, fewCalls)
	case c.Sync != SyncAlways && c.Sync != SyncLater:
		return messages.FieldErrorf(messages.CodeUsage, "sync", "is %q, want %s or %s", string(c.Sync), SyncAlways, SyncLater)
	case len(c.Program) == 0:
		return messages.FieldErrorf(messages.CodeInternal, "Program", "is empty")
	}
	return nil
}

// warmUp is how long a round runs before it counts.
func (c Config) warmUp() time.Duration { return c.Duration / 4 }
