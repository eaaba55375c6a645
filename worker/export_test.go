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

// SendWithin shortens how old a begun try may be when it is sent.
func (d *Dialer) SendWithin(fresh time.Duration) { d.fresh = fresh }

// Every makes Run reap more often.
func (r *Reaper) Every(d time.Duration) { r.every = d }

// Every makes Run refresh more often.
func (c *Catalog) Every(d time.Duration) { c.every = d }
