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
	over  bool
}

func holdMessage(msg jetstream.Msg, ackWait, atMost time.Duration, log *slog.Logger) *hold {
	h := &hold{msg: msg, every: ackWait / 3, until: time.Now().Add(atMost), log: log}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.timer = time.AfterFunc(h.every, h.beat)
	return h
}

func (h *hold) beat() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over || time.Now().After(h.until) {
		return
	}
	if err := h.msg.InProgress(); err != nil {
		h.log.Warn("an in-progress ack could not be sent; the message may be delivered twice", "subject", h.msg.Subject(), "error", err)
	}
	h.timer.Reset(h.every)
}

// release ends the hold. After it, an ack or nak is the last word.
func (h *hold) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	h.timer.Stop()
}
