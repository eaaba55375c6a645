package webhook

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
)

// waitingRoom knows the events that wait for their answer: it limits them, counts
// them, and says who they are when the process stops.
type waitingRoom struct {
	limit int
	gauge prometheus.Gauge

	mu     sync.Mutex
	events map[string]messages.Envelope // by event id
}

func newWaitingRoom(limit int, gauge prometheus.Gauge) *waitingRoom {
	return &waitingRoom{limit: limit, gauge: gauge, events: make(map[string]messages.Envelope)}
}

// enter admits an event, or reports that the room is full. An admitted event must
// leave.
func (w *waitingRoom) enter(env messages.Envelope) bool {
	env.Body = nil // who waits, not with what
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.events) >= w.limit {
		return false
	}
	w.events[env.EventID] = env
	w.gauge.Set(float64(len(w.events)))
	return true
}

func (w *waitingRoom) leave(eventID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.events, eventID)
	w.gauge.Set(float64(len(w.events)))
}

// who is how many events wait and, for at most limit of them, which: event id, name
// and call, as one string each.
func (w *waitingRoom) who(limit int) (n int, some []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, env := range w.events {
		if len(some) == limit {
			break
		}
		some = append(some, id+" "+clip(env.Event)+" of call "+clip(env.CallID))
	}
	return len(w.events), some
}

// clip bounds what a stranger chose before it goes into a log line.
func clip(s string) string {
	const longest = 64
	if len(s) <= longest {
		return s
	}
	return s[:longest] + "…"
}
