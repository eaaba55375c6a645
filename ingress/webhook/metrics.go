package webhook

import (
	"fmt"
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
	outcomeUnstored outcome = "unstored" // 503, the event is not known to be in the stream
	outcomeUntold   outcome = "untold"   // 503, the told report of the fallback is not
)

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
	rejectedFull         rejection = "full" // too many events in flight
)

// metrics are the door's measurements; doc.go lists them for operators.
type metrics struct {
	answers     *prometheus.CounterVec
	duration    *prometheus.HistogramVec
	rejected    *prometheus.CounterVec
	inFlight    prometheus.Gauge
	connections prometheus.Gauge
	late        atomic.Uint64 // those the bus does not know of
	broken      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, window time.Duration, b Bus) (*metrics, error) {
	m := &metrics{
		answers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_webhook_answers_total",
			Help: "Events answered, by event name and outcome.",
		}, []string{"event", "outcome"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "offhook_webhook_answer_duration_seconds",
			Help:    "Time from an event's arrival until its answer was written, by event name.",
			Buckets: buckets(window),
		}, []string{"event"}),
		rejected: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_webhook_rejected_total",
			Help: "Requests refused before anything was published, by reason.",
		}, []string{"reason"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "offhook_webhook_in_flight",
			Help: "Events that wait for their answer.",
		}),
		connections: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "offhook_webhook_connections",
			Help: "Open connections.",
		}),
		broken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "offhook_webhook_broken_answers_total",
			Help: "Answers that the connection did not take.",
		}),
	}
	late := prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "offhook_webhook_late_replies_total",
		Help: "Replies dropped because the fallback had been chosen.",
	}, func() float64 { return float64(m.late.Load() + b.Stats().LateReplies) })
	for _, c := range []prometheus.Collector{m.answers, m.duration, m.rejected, m.inFlight, m.connections, late, m.broken} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register the webhook's metrics: %w", err)
		}
	}
	return m, nil
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
