package webhook

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/offhook/offhook/ingress/webhook/spool"
	"github.com/offhook/offhook/messages"
)

// fakeSpool is a spool in memory whose disk can be slow or broken. What it does
// stands in the journal of its bus.
type fakeSpool struct {
	disk  func(ctx context.Context) error // nil: written at once
	batch int                             // envelopes given to publish at once; 0: all

	bus  *fakeBus // of the door; set by newDoor
	fill chan struct{}
	mu   sync.Mutex
	kept []messages.Envelope
}

func (f *fakeSpool) NotEmpty() <-chan struct{} { return f.fill }

func (f *fakeSpool) AwaitEmpty(ctx context.Context) error {
	for !f.Empty() {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

func (f *fakeSpool) Append(ctx context.Context, envs ...messages.Envelope) error {
	if f.disk != nil {
		if err := f.disk(ctx); err != nil {
			return err
		}
	}
	f.mu.Lock()
	f.kept = append(f.kept, envs...)
	f.mu.Unlock()
	for _, env := range envs {
		f.bus.note("spool " + string(env.Kind) + " " + env.Event)
	}
	select {
	case f.fill <- struct{}{}:
	default:
	}
	return nil
}

func (f *fakeSpool) Drain(ctx context.Context, publish func(context.Context, []messages.Envelope) error) error {
	for {
		f.mu.Lock()
		n := len(f.kept)
		if f.batch > 0 {
			n = min(n, f.batch)
		}
		batch := slices.Clone(f.kept[:n])
		f.mu.Unlock()
		if n == 0 {
			return nil
		}
		for i := range batch {
			batch[i].Late, batch[i].ReplyTo, batch[i].Deadline = true, "", time.Time{}
		}
		err := publish(ctx, batch)
		var partial *spool.PartialError
		if errors.As(err, &partial) {
			n = partial.Stored
		} else if err != nil {
			n = 0
		}
		f.mu.Lock()
		f.kept = f.kept[n:]
		f.mu.Unlock()
		if err != nil {
			return err
		}
	}
}

func (f *fakeSpool) Empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.kept) == 0
}

// all is what is in the spool.
func (f *fakeSpool) all() []messages.Envelope {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.kept)
}

func (f *fakeSpool) Stats() spool.Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := spool.Stats{Events: len(f.kept)}
	if len(f.kept) > 0 {
		s.Oldest = f.kept[0].Arrived
	}
	return s
}

// diskTakes is a disk that takes its time, and heeds the context.
func diskTakes(d time.Duration) func(context.Context) error {
	slow := slowTell(d)
	return func(ctx context.Context) error { return slow(ctx, messages.Envelope{}) }
}

func diskFull(context.Context) error { return spool.ErrFull }
