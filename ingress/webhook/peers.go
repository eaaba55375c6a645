package webhook

import (
	"context"
	"sync/atomic"
	"time"
)

// After an outage of NATS the events of one call lie in the spools of several doors.
// A door that has emptied its own must not let a worker decide the call's next event
// while earlier ones are still with another door: the caller would hear an answer to
// a question that was never asked. So doors tell each other that their spools are
// not empty, and each goes on holding until it has heard nothing for a moment.
const (
	// settleFor is how long a door that spooled during an outage goes on holding once
	// NATS is back: until then every door that runs has reconnected and said what it has.
	settleFor = 3 * time.Second
	// sayEvery is how often a door says that events wait; heedFor is how long one such
	// word counts.
	sayEvery = 100 * time.Millisecond
	heedFor  = 500 * time.Millisecond
	// sayAfter is how old an event in the spool must be: those that are held for the
	// sake of others pass through in no time, and must not make the others hold.
	sayAfter = 500 * time.Millisecond
	// heedMost is how long words of others are heeded without a pause: a door that
	// cannot empty its spool must not put all callers on hold for ever.
	heedMost = 10 * time.Second
)

// peers is what a door knows of the others' spools. The zero value knows nothing.
type peers struct {
	settled atomic.Int64 // Unix ns until which others may still have to say something
	since   atomic.Int64 // Unix ns of the first word of the present row
	last    atomic.Int64 // and of the latest
}

// back notes that NATS has come back to a door that has spooled meanwhile.
func (p *peers) back(now time.Time) { p.settled.Store(now.Add(settleFor).UnixNano()) }

// behind reports whether other doors may hold earlier events, given when one of them
// last said so.
func (p *peers) behind(now, heard time.Time) bool {
	if now.UnixNano() < p.settled.Load() {
		return true
	}
	if heard.IsZero() || now.Sub(heard) > heedFor {
		return false
	}
	if last := p.last.Swap(heard.UnixNano()); heard.UnixNano()-last > (2 * heedFor).Nanoseconds() {
		p.since.Store(heard.UnixNano())
	}
	return heard.UnixNano()-p.since.Load() < heedMost.Nanoseconds()
}

// saySpooling tells the other doors about events that wait, until ctx ends.
func (s *Server) saySpooling(ctx context.Context) {
	tick := time.NewTicker(sayEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if s.spool.Empty() || !s.bus.Connected() {
			continue
		}
		if oldest := s.spool.Stats().Oldest; oldest.IsZero() || time.Since(oldest) < sayAfter {
			continue
		}
		if err := s.bus.SaySpooling(); err != nil {
			s.log.Debug("webhook: the other doors could not be told that events wait in the spool", "error", err)
		}
	}
}
