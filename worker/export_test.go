package worker

import (
	"context"
	"time"
)

// Reap makes one pass.
func (r *Reaper) Reap(ctx context.Context) error { return r.reap(ctx) }

// GiveUp gives up one intent, as a pass does that has listed it before.
func (r *Reaper) GiveUp(ctx context.Context, id string) error { return r.giveUp(ctx, id) }

// Refresh does what Run does each hour.
func (c *Catalog) Refresh(ctx context.Context) { c.refresh(ctx) }

// SettleWithin shortens the time an outcome may take to be written down.
func (d *Dialer) SettleWithin(within, last time.Duration) {
	d.settler.within, d.settler.last = within, last
}
