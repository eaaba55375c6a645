package worker

import (
	"context"
	"time"
)

// lagEvery is how often the streams are looked at for the metrics: three questions to
// NATS for each worker.
const lagEvery = 5 * time.Second

// watchLag keeps the gauges of the streams up to date, until ctx ends. While NATS is
// away they keep their last values; what else would be shown is not known.
func (h *Events) watchLag(ctx context.Context) {
	tick := time.NewTicker(h.lagEvery)
	defer tick.Stop()
	for {
		lag, err := h.bus.Lag(ctx)
		if err == nil {
			h.metrics.lag(lag)
		} else if ctx.Err() == nil {
			h.log.DebugContext(ctx, "the streams could not be looked at", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
