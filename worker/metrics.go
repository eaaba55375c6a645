package worker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

// Metrics are what a worker counts. No label carries a number or a call id, and an
// event name that TeleSign does not document counts as other.
type Metrics struct {
	decisions *prometheus.CounterVec
	failures  *prometheus.CounterVec
	retries   prometheus.Counter
	races     prometheus.Counter
	lates     prometheus.Counter
	dials     *prometheus.CounterVec
}

// NewMetrics registers a worker's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	m := &Metrics{
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_worker_decisions_total", Help: "Arrivals stepped, redeliveries among them, by event and what was made of them.",
		}, []string{"event", "decision"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_worker_failures_total", Help: "Messages and dials that were given up and parked, by reason.",
		}, []string{"reason"}),
		retries: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "offhook_worker_retries_total", Help: "Deliveries handed back, to come again.",
		}),
		races: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "offhook_worker_conflicts_total", Help: "Commits lost to another worker and stepped again.",
		}),
		lates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "offhook_worker_late_replies_total", Help: "Decisions made after the answer window had closed.",
		}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "offhook_dials_total", Help: "Dials tried, by outcome; expired and not_sent ones did not reach TeleSign.",
		}, []string{"outcome"}),
	}
	r.MustRegister(m.decisions, m.failures, m.retries, m.races, m.lates, m.dials)
	return m
}

func (m *Metrics) decided(d bus.Delivery, kind call.DecisionKind) {
	event := "other"
	switch {
	case d.Kind == messages.KindTold: // it carries the name of the event it is about
		event = string(messages.KindTold)
	case telesign.EventName(d.Event).Known():
		event = d.Event
	}
	m.decisions.WithLabelValues(event, string(kind)).Inc()
}

func (m *Metrics) failed(reason messages.FailureReason) {
	m.failures.WithLabelValues(string(reason)).Inc()
}
func (m *Metrics) retried()               { m.retries.Inc() }
func (m *Metrics) raced()                 { m.races.Inc() }
func (m *Metrics) late()                  { m.lates.Inc() }
func (m *Metrics) dialled(outcome string) { m.dials.WithLabelValues(outcome).Inc() }
