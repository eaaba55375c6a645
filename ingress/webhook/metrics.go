package webhook

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages/telesign"
)

// outcome is how an event that was understood was answered.
type outcome string

// The outcomes.
const (
	outcomeDecided  outcome = "decided"  // 200, the worker's action
	outcomeStored   outcome = "stored"   // 200 {}, call_completed
	outcomeHeld     outcome = "held"     // 200, the fallback: a worker said that it cannot decide now
	outcomeMissed   outcome = "missed"   // 200, the fallback: no reply inside the window
	outcomeSpooled  outcome = "spooled"  // 200, the fallback: the stream did not have the event, the spool does
	outcomeUnstored outcome = "unstored" // 503, the event is not known to be in the stream or the spool
	outcomeUntold   outcome = "untold"   // 503, the told report of the fallback is not
)

// reason is why a caller was held: a closed set, since the words of a worker's reply
// are not.
type reason string

// The reasons. Those of the door itself come first.
const (
	reasonNoReply   reason = "no_reply"        // inside the window
	reasonStopping  reason = "stopping"        // this process is
	reasonAway      reason = "nats_away"       // there is no connection
	reasonSpool     reason = "spool_not_empty" // earlier events wait for the stream
	reasonNotStored reason = "not_stored"      // the stream refused the event, or did not confirm it
	reasonCrowded   reason = "crowded"         // too many events in flight
	reasonLateLane  reason = "late_lane"       // a worker: earlier events of the call wait
	reasonStoreAway reason = "unavailable"     // a worker: Redis is away
	reasonNotFit    reason = "does_not_fit"    // a worker: not the end of what the caller was told
	reasonParked    reason = "parked"          // a worker: the event is in the failed set
	reasonOther     reason = "other"           // a worker: anything else
)

// workersReason files the words of a worker's reply.
func workersReason(text string) reason {
	switch text {
	case "late lane":
		return reasonLateLane
	case "unavailable":
		return reasonStoreAway
	case "does not fit what the caller was told", "on hold", "held before", "the call has begun already",
		"the call has not begun", "an earlier event is still being processed", "what the caller was told is not known":
		return reasonNotFit
	case "unreadable", "failed", "the event is in the failed set":
		return reasonParked
	}
	return reasonOther
}

// rejection is why a request did not get as far as the stream.
type rejection string

// The rejections.
const (
	rejectedPath         rejection = "path"
	rejectedMethod       rejection = "method"
	rejectedTooLarge     rejection = "too_large"
	rejectedUnread       rejection = "unread" // the body broke off or was too slow
	rejectedUnauthorized rejection = "unauthorized"
	rejectedInvalid      rejection = "invalid"
	rejectedFull         rejection = "full" // too many events in flight, and no spool
)

// metrics are the door's measurements; doc.go lists them for operators.
type metrics struct {
	answers     *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	told        *prometheus.CounterVec
	holds       *prometheus.CounterVec
	missed      prometheus.Counter
	rejected    *prometheus.CounterVec
	inFlight    prometheus.Gauge
	connections prometheus.Gauge
	late        atomic.Uint64 // those the bus does not know of
	broken      prometheus.Counter
	spoolParked prometheus.Counter
	steps       steps
}

func newMetrics(reg prometheus.Registerer, window time.Duration, b Bus, sp Spool) (*metrics, error) {
	m := &metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_webhook_answers_total",
			Help: "Events answered, by event name, flow and step that decided, and outcome.",
		}, []string{"event", "flow", "step", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "offhook_webhook_answer_duration_seconds",
			Help:    "Time from an event's arrival until its answer was written, by flow and step that decided.",
			Buckets: buckets(window),
		}, []string{"flow", "step"}),
		told:     counters("offhook_webhook_told_total", "Reports of answers that were not a worker's decision, by what the caller was told.", "answer"),
		holds:    counters("offhook_webhook_holds_total", "Hold prompts, by why nothing better was there.", "reason"),
		missed:   counter("offhook_webhook_missed_windows_total", "Events that got no reply inside the window."),
		rejected: counters("offhook_webhook_rejected_total", "Requests refused before anything was published, by reason.", "reason"),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "offhook_webhook_in_flight",
			Help: "Events that wait for their answer.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "offhook_webhook_connections",
			Help: "Open connections.",
		}),
		broken:      counter("offhook_webhook_broken_answers_total", "Answers that the connection did not take, or after which it was reset."),
		spoolParked: counter("offhook_spool_parked_total", "Events of the spool that the stream refused for good, which are in the failed set."),
	}
	late := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "offhook_webhook_late_replies_total",
		Help: "Replies dropped because the fallback had been chosen.",
	}, func() float64 { return float64(m.late.Load() + b.Stats().LateReplies) })
	all := []prometheus.Collector{m.answers, m.duration, m.told, m.holds, m.missed, m.rejected, m.inFlight, m.connections, late, m.broken}
	if sp != nil {
		all = append(all, m.spoolParked)
		all = append(all, spoolGauges(sp)...)
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the webhook's metrics: %w", err)
		}
	}
	return m, nil
}

func counter(name, help string) prometheus.Counter {
	return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
}

func counters(name, help, label string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, []string{label})
}

// spoolGauges show what waits in the spool.
func spoolGauges(sp Spool) []prometheus.Collector {
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, value)
	}
	count := func(name, help string, value func() uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	return []prometheus.Collector{
		gauge("offhook_spool_events", "Events and reports in the spool.", func() float64 { return float64(sp.Stats().Events) }),
		gauge("offhook_spool_bytes", "Bytes of the spool's files.", func() float64 { return float64(sp.Stats().Bytes) }),
		gauge("offhook_spool_oldest_age_seconds", "Age of the oldest event in the spool, 0 when it is empty.", func() float64 {
			oldest := sp.Stats().Oldest
			if oldest.IsZero() {
				return 0
			}
			return max(0, time.Since(oldest).Seconds())
		}),
		count("offhook_spool_appended_total", "Events and reports put into the spool.", func() uint64 { return sp.Stats().Appended }),
		count("offhook_spool_drained_total", "Events and reports moved from the spool to the stream.", func() uint64 { return sp.Stats().Drained }),
		count("offhook_spool_set_aside_total", "Damaged pieces of spool files that were set aside.", func() uint64 { return sp.Stats().SetAside }),
	}
}

// answered counts one answer and its time since the event's arrival.
func (m *metrics) answered(event telesign.EventName, a answer, took time.Duration) {
	flow, step := m.steps.label(a.flow, a.step)
	m.answers.WithLabelValues(eventLabel(event), flow, step, string(a.outcome)).Inc()
	m.duration.WithLabelValues(flow, step).Observe(took.Seconds())
}

// maxSteps is how many steps, of all flows, get series of their own.
const maxSteps = 1000

// steps bounds the labels that flow files choose. The zero value is ready.
type steps struct {
	mu   sync.RWMutex
	seen map[[2]string]struct{}
}

// label is flow and step as labels: themselves, or "other" when there are too many.
func (s *steps) label(flow, step string) (string, string) {
	if flow == "" && step == "" {
		return "", ""
	}
	key := [2]string{flow, step}
	s.mu.RLock()
	_, known := s.seen[key]
	s.mu.RUnlock()
	if known {
		return flow, step
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[key]; !known {
		if len(s.seen) >= maxSteps {
			return "other", "other"
		}
		if s.seen == nil {
			s.seen = make(map[[2]string]struct{})
		}
		s.seen[key] = struct{}{}
	}
	return flow, step
}

// buckets are fine around the window, where the promise is kept or broken, and
// coarse below it. In seconds, ascending.
func buckets(window time.Duration) []float64 {
	var b []float64
	for d := 2 * time.Millisecond; d < window/2; d *= 2 {
		b = append(b, d.Seconds())
	}
	for _, share := range []float64{0.5, 0.75, 0.9, 1, 1.1, 1.5} {
		b = append(b, share*window.Seconds())
	}
	return b
}

// eventLabel keeps names that strangers choose out of the labels.
func eventLabel(n telesign.EventName) string {
	if n.Known() {
		return string(n)
	}
	return "other"
}
