package bus

import (
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/offhook/offhook/messages"
)

// spooling is what processes tell each other about their spools, by core NATS: it is
// of the moment, and nobody needs to hear of it later.
type spooling struct {
	self  string
	heard atomic.Int64 // Unix ns of the latest word of another process
}

func (s *spooling) subscribe(nc *nats.Conn) error {
	_, err := nc.Subscribe(messages.SubjectSpooling, func(m *nats.Msg) {
		if string(m.Data) != s.self {
			s.heard.Store(time.Now().UnixNano())
		}
	})
	if err != nil {
		return messages.Errorf(messages.CodeUnavailable, "NATS: subscribing to %s: %w", messages.SubjectSpooling, err)
	}
	return nil
}

// SaySpooling tells all other processes that this one still has events of an outage
// in its spool. It neither waits nor makes sure that anybody hears it.
func (b *Bus) SaySpooling() error {
	return publishError(messages.SubjectSpooling, b.nc.Publish(messages.SubjectSpooling, []byte(b.spooling.self)))
}

// HeardSpooling is when another process said so last; the zero time when none has.
func (b *Bus) HeardSpooling() time.Time {
	ns := b.spooling.heard.Load()
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns)
}
