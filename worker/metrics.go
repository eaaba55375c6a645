package worker

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/worker/call"
)

// Metrics are what a worker counts. No label carries a number or a call id, and an
// event name that TeleSign does not document counts as other.
type Metrics struct {
	decisions    *prometheus.CounterVec
	failures     *prometheus.CounterVec
	retries      prometheus.Counter
	races        prometheus.Counter
	lates        prometheus.Counter
	redeliveries prometheus.Counter
	deferrals    *prometheus.CounterVec
	unheard      prometheus.Counter
	dials        *prometheus.CounterVec

	away    prometheus.Gauge
	streams streamGauges

	bus atomic.Pointer[bus.Bus] // whose counters are shown; nil until there is one
}

// streamGauges are of streams that all workers share: each worker shows the same.
type streamGauges struct {
	pending, unacked, redelivered, oldest prometheus.Gauge
	late, lateOldest                      prometheus.Gauge
	failed                                prometheus.Gauge
}

// NewMetrics registers a worker's metrics with r.
func NewMetrics(r prometheus.Registerer) *Metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		r.MustRegister(g)
		return g
	}
	m := &Metrics{
		decisions:    counter("offhook_worker_decisions_total", "Arrivals stepped, redeliveries among them, by event and what was made of them.", "event", "decision"),
		failures:     counter("offhook_worker_failures_total", "Messages and dials that were given up and parked, by reason.", "reason"),
		retries:      counter("offhook_worker_retries_total", "Deliveries handed back, to come again.").WithLabelValues(),
		races:        counter("offhook_worker_conflicts_total", "Commits lost to another worker and stepped again.").WithLabelValues(),
		lates:        counter("offhook_worker_late_replies_total", "Decisions made after the answer window had closed.").WithLabelValues(),
		redeliveries: counter("offhook_worker_redeliveries_total", "Deliveries of events and reports that had been delivered before, to any worker.").WithLabelValues(),
		deferrals:    counter("offhook_worker_deferred_total", "Events and reports put in the late lane, because the store was away or because earlier ones wait there.", "reason"),
		unheard:      counter("offhook_worker_undelivered_replies_total", "Replies that found no ingress; each is reported to its call.").WithLabelValues(),
		dials:        counter("offhook_dials_total", "Dials tried, by outcome; expired and not_sent ones did not reach TeleSign.", "outcome"),
		away:         gauge("offhook_worker_store_away", "1 while the store is away and events wait in the late lane, else 0."),
		streams: streamGauges{
			pending:     gauge("offhook_events_pending", "Events and reports that no worker has been given yet."),
			unacked:     gauge("offhook_events_unacked", "Events and reports that workers have in hand."),
			redelivered: gauge("offhook_events_redelivered", "Events and reports in hand that have been delivered more than once."),
			oldest:      gauge("offhook_events_oldest_age_seconds", "Age of the oldest event or report that is not done; 0 when all are."),
			late:        gauge("offhook_late_lane_events", "Events and reports in the late lane."),
			lateOldest:  gauge("offhook_late_lane_oldest_age_seconds", "How long the oldest of the late lane has been there; 0 when it is empty."),
			failed:      gauge("offhook_failed_messages", "Messages in the failed stream; nothing leaves it but by an operator's word."),
		},
	}
	for _, reason := range []string{holdUnavailable, holdLate} {
		m.deferrals.WithLabelValues(deferralLabel(reason))
	}
	r.MustRegister(prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "offhook_worker_parked_total", Help: "Messages that the consume loops of this worker moved to the failed stream, exhausted ones among them.",
	}, func() float64 {
		if b := m.bus.Load(); b != nil {
			return float64(b.Stats().Parked)
		}
		return 0
	}))
	return m
}

// watch shows what b counts.
func (m *Metrics) watch(b *bus.Bus) { m.bus.Store(b) }

func (m *Metrics) decided(d bus.Delivery, kind call.DecisionKind) {
	m.decisions.WithLabelValues(eventLabel(d), string(kind)).Inc()
}

func (m *Metrics) delivered(d bus.Delivery) {
	if d.Attempt > 1 {
		m.redeliveries.Inc()
	}
}

func (m *Metrics) deferred(reason string) {
	m.deferrals.WithLabelValues(deferralLabel(reason)).Inc()
}

// deferralLabel is the reason of a hold as the label of why an event was deferred.
func deferralLabel(hold string) string {
	if hold == holdLate {
		return "late_lane"
	}
	return "store_away"
}

func (m *Metrics) failed(reason messages.FailureReason) {
	m.failures.WithLabelValues(string(reason)).Inc()
}

func (m *Metrics) storeAway(away bool) {
	m.away.Set(0)
	if away {
		m.away.Set(1)
	}
}

func (m *Metrics) retried()               { m.retries.Inc() }
func (m *Metrics) raced()                 { m.races.Inc() }
func (m *Metrics) late()                  { m.lates.Inc() }
func (m *Metrics) undelivered()           { m.unheard.Inc() }
func (m *Metrics) dialled(outcome string) { m.dials.WithLabelValues(outcome).Inc() }

// lag shows what the streams were seen to hold.
func (m *Metrics) lag(l bus.Lag) {
	g := m.streams
	g.pending.Set(float64(l.Pending))
	g.unacked.Set(float64(l.Unacked))
	g.redelivered.Set(float64(l.Redelivered))
	g.oldest.Set(l.Oldest.Seconds())
	g.late.Set(float64(l.Late))
	g.lateOldest.Set(l.LateOldest.Seconds())
	g.failed.Set(float64(l.Failed))
}
