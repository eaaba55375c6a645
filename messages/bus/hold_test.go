package bus

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// countedMsg counts in-progress acks; nothing else of it is called.
type countedMsg struct {
	jetstream.Msg
	beats chan struct{}
}

func (m countedMsg) InProgress() error { m.beats <- struct{}{}; return nil }

func TestAHoldBeatsUntilReleasedAndNeverAfter(t *testing.T) {
	t.Parallel()
	m := countedMsg{beats: make(chan struct{}, 1000)}
	h := holdMessage(m, 30*time.Millisecond, patience, discard)
	receive(t, "a beat", m.beats)
	receive(t, "the next beat", m.beats)
	h.release()
	for len(m.beats) > 0 {
		<-m.beats
	}
	h.beat() // its timer had fired just before the release
	receiveNone(t, "a beat after the release", m.beats)
}
