package bus

import (
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// hold keeps one message from being redelivered while its handler runs, by sending
// in-progress acks every third of ack-wait, or a little sooner, until its time is over.
// A handler that ends before the first costs no message. A stopped process sends none,
// so its messages go to somebody else after ack-wait.
type hold struct {
	holds      *holds
	prev, next *hold // in the ring of all holds

	msg jetstream.Msg

	mu    sync.Mutex // held while sending: no in-progress ack can follow release
	until time.Time
	last  time.Time // when the server last heard that the message is being worked on
	over  bool
}

// holds beats for all holds of a loop, with one timer, which runs while there are any:
// a timer for each message would be set and stopped thousands of times a second, and
// hardly ever fire.
type holds struct {
	every time.Duration
	log   *slog.Logger

	mu    sync.Mutex
	ring  hold // the ends of all holds, none itself
	timer *time.Timer
	runs  bool
}

// looksPerBeat is how often within the time of a beat it is looked whose is due.
const looksPerBeat = 4

func newHolds(ackWait time.Duration, log *slog.Logger) *holds {
	s := &holds{every: ackWait / 3, log: log}
	s.ring.prev, s.ring.next = &s.ring, &s.ring
	return s
}

// hold holds a message until it is released, or atMost is over.
func (s *holds) hold(msg jetstream.Msg, atMost time.Duration) *hold {
	now := time.Now()
	h := &hold{holds: s, msg: msg, last: now, until: now.Add(atMost)}
	s.mu.Lock()
	defer s.mu.Unlock()
	h.prev, h.next = s.ring.prev, &s.ring
	h.prev.next, s.ring.prev = h, h
	if s.timer == nil {
		s.timer = time.AfterFunc(s.every/looksPerBeat, s.look)
	} else if !s.runs {
		s.timer.Reset(s.every / looksPerBeat)
	}
	s.runs = true
	return h
}

// look beats for those that are due before the next look.
func (s *holds) look() {
	for _, h := range s.all() {
		h.beat(s.every - s.every/looksPerBeat)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.runs = s.ring.next != &s.ring; s.runs {
		s.timer.Reset(s.every / looksPerBeat)
	}
}

func (s *holds) all() []*hold {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*hold
	for h := s.ring.next; h != &s.ring; h = h.next {
		all = append(all, h)
	}
	return all
}

// beat sends an in-progress ack if the last is that old.
func (h *hold) beat(age time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.over || now.Sub(h.last) < age || now.After(h.until) || h.lapsed(now) {
		return
	}
	if err := h.msg.InProgress(); err != nil {
		h.holds.log.Warn("an in-progress ack could not be sent; the message may be delivered twice", "subject", h.msg.Subject(), "error", err)
	} else {
		h.last = now
	}
}

// lapsed reports whether the server has given the message to somebody else: it heard
// nothing for ack-wait, because the time was over or the process stopped. It needs mu.
func (h *hold) lapsed(now time.Time) bool { return now.Sub(h.last) >= 3*h.holds.every }

// extend lets the hold go on until atMost from now. It reports false when it is too
// late for that.
func (h *hold) extend(atMost time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.over || h.lapsed(now) {
		return false
	}
	h.until = now.Add(atMost)
	return true
}

// release ends the hold. After it, an ack or nak is the last word.
func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return
	}
	h.over = true
	h.holds.mu.Lock()
	defer h.holds.mu.Unlock()
	h.prev.next, h.next.prev = h.next, h.prev
}
