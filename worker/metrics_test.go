package worker_test

import (
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/worker"
)

// gauge is the value of a gauge.
func (p *process) gauge(name string) float64 {
	p.w.t.Helper()
	families, err := p.registry.Gather()
	noError(p.w.t, err)
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	p.w.t.Fatalf("no metric %s", name)
	return 0
}

// What waits in the streams shows, and that it no longer does.
func TestStreamGauges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	p.events.LagEvery(10 * time.Millisecond)
	c := w.place()
	for _, words := range []string{"dial_completed answered", "speak_completed 1"} {
		noError(t, w.bus.Tell(within(t), c.envelope(words)))
	}
	noError(t, p.bus.Defer(within(t), bus.Delivery{Envelope: c.envelope("speak_completed"), Sequence: 3}))
	noError(t, w.bus.Park(within(t), messages.Failure{Kind: messages.FailureEvent, Reason: messages.ReasonPoison}))
	stop := p.serve()
	shows := func(pending, late, failed float64) func() bool {
		return func() bool {
			return p.gauge("offhook_events_pending") == pending && p.gauge("offhook_late_lane_events") == late && p.gauge("offhook_failed_messages") == failed &&
				p.gauge("offhook_events_oldest_age_seconds") > 0 == (pending > 0) && p.gauge("offhook_late_lane_oldest_age_seconds") > 0 == (late > 0)
		}
	}
	eventually(t, "two events, one late and one failure show", shows(2, 1, 1))
	stop()
	p.consume()
	eventually(t, "all but the failure is gone", shows(0, 0, 1))
	if n := p.gauge("offhook_events_unacked") + p.gauge("offhook_events_redelivered"); n != 0 {
		t.Errorf("%v in hand", n)
	}
}

// Every metric is in the package's documentation, and every one there is exported.
func TestMetricsAreDocumented(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	described := make(chan *prometheus.Desc, 100)
	worker.NewMetrics(registry)
	registry.Describe(described)
	close(described)
	var exported, documented []string
	for d := range described {
		exported = append(exported, regexp.MustCompile(`fqName: "(\w+)"`).FindStringSubmatch(d.String())[1])
	}
	text, err := os.ReadFile("doc.go")
	noError(t, err)
	for _, found := range regexp.MustCompile(`(?m)^//\t(offhook_\w+)`).FindAllSubmatch(text, -1) {
		documented = append(documented, string(found[1]))
	}
	slices.Sort(exported)
	slices.Sort(documented)
	if !slices.Equal(exported, documented) {
		t.Errorf("exported   %q\ndocumented %q", exported, documented)
	}
}
