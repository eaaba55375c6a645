package cli

import (
	"io"
	"time"

	"github.com/offhook/offhook/messages"
)

// WriteCall is writeCall.
func WriteCall(w io.Writer, c messages.Call) error { return writeCall(w, c) }

// SimulatedGuard is the guard time of a process whose people live speed times as fast.
func SimulatedGuard(guard time.Duration, speed float64) time.Duration {
	e := everything{simulation: simulation{speed: speed, seed: 1}}
	e.limits.Guard = guard
	return e.config(&app{}).Limits.Guard
}

// Parts are parts.
func Parts(err error) []error { return parts(err) }
