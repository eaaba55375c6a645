package bus

import (
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// hold keeps one message from being redelivered while its handler runs, by sending
// in-progress acks every third of ack-wait until its time is over. A handler that
// ends before the first costs a timer and no message. A stopped process sends none,
// so its messages go to somebody else after ack-wait.
type hold struct {
	msg   jetstream.Msg
	every time.Duration
	until time.Time
	log   *slog.Logger

	mu    sync.Mutex // held while sending: no in-progress ack can follow release
	timer *time.Timer
	last  time.Time // when the server last heard that the message is being worked on
	over  bool
}

func holdMessage(msg jetstream.Msg, ackWait, atMost time.Duration, log *slog.Logger) *hold {
	now := time.Now()
	h := &hold{msg: msg, every: ackWait / 3, last: now, until: now.Add(atMost), log: log}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(h.every, h.beat)
	return h
}

func (h *hold) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.over || now.After(h.until) || h.lapsed(now) {
		return
	}
	if err := h.msg.InProgress(); err != nil {
		h.log.Warn("an in-progress ack could not be sent; the message may be delivered twice", "subject", h.msg.Subject(), "error", err)
	} else {
		h.last = now
	}
	h.timer.Reset(h.every)
}

// lapsed reports whether the server has given the message to somebody else: it heard
// nothing for ack-wait, because the time was over or the process stopped. It needs mu.
func (h *hold) lapsed(now time.Time) bool { return now.Sub(h.last) >= 3*h.every }

// extend lets the hold go on until atMost from now. It reports false when it is too
// late for that.
func (h *hold) extend(atMost time.Duration) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	if h.over || h.lapsed(now) {
		return false
	}
	if now.After(h.until) { // the beat has ended, or will at its next turn
		h.timer.Reset(h.every - min(now.Sub(h.last), h.every))
	}
	h.until = now.Add(atMost)
	return true
}

// release ends the hold. After it, an ack or nak is the last word.
func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.timer.Stop()
}
