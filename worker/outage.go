package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/offhook/offhook/store"
)

// How the store is asked whether it is back: soon after each sign that it is away,
// then a few times a second, each time for no longer than a stopped Redis takes to be
// noticed. A store that was back for less than steady, because it answers and refuses
// what matters, is asked less and less often.
const (
	probeEvery  = 150 * time.Millisecond
	probeWithin = time.Second
	probeMost   = 5 * time.Second
	steady      = 2 * time.Second
)

// outage knows whether the store is away, so that one delivery finds out by waiting
// for a time-out and all others need not. It is open (away) from the first failure
// until a probe succeeds; nothing else closes it.
type outage struct {
	works   func(context.Context) error // asks the store
	metrics *Metrics
	log     *slog.Logger
	tripped chan struct{} // has a value when run is to look

	returns atomic.Uint64 // how often the store has come back
	probes  atomic.Uint64 // how often it was asked
	gone    atomic.Bool

	mu     sync.Mutex
	back   chan struct{} // closed when the store is back; nil when it is not away
	since  time.Time     // when it went
	until  time.Time     // when it last came back
	lately int           // outages in a row that began within steady of the last one's end
}

func newOutage(works func(context.Context) error, metrics *Metrics, log *slog.Logger) *outage {
	return &outage{works: works, metrics: metrics, log: log, tripped: make(chan struct{}, 1)}
}

// storeAway reports whether err is of a store that cannot work now, and not of the
// end of the time that somebody had for it.
func storeAway(ctx context.Context, err error) bool {
	return ctx.Err() == nil && errors.Is(err, store.ErrUnavailable)
}

// away is one atomic read.
func (o *outage) away() bool { return o.gone.Load() }

// trip notes that an operation failed which was begun after the given number of
// returns. One that was begun before the last of them says nothing about now.
func (o *outage) trip(returns uint64, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.back != nil || returns != o.returns.Load() {
		return
	}
	o.back, o.since = make(chan struct{}), time.Now()
	o.lately++
	if o.since.Sub(o.until) > steady {
		o.lately = 0
	}
	o.gone.Store(true)
	o.metrics.storeAway(true)
	o.log.Warn("the store is away: callers are put on hold and events wait in the late lane", "error", err)
	select {
	case o.tripped <- struct{}{}:
	default: // nobody is running, or the one before is about to be taken
	}
}

// run asks for the store whenever it is away, until ctx ends.
func (o *outage) run(ctx context.Context) {
	for {
		if o.away() && !o.probe(ctx) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-o.tripped:
		}
	}
}

// probe brings the store back once it answers; false when ctx ended before.
func (o *outage) probe(ctx context.Context) bool {
	for wait := o.patience(); ; wait = probeEvery {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
		if o.answers(ctx) {
			o.restore()
			return true
		}
	}
}

// patience is how long the first probe of this outage waits.
func (o *outage) patience() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lately == 0 {
		return 0
	}
	return min(probeEvery<<min(o.lately, 10), probeMost)
}

func (o *outage) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeWithin)
	defer cancel()
	defer o.probes.Add(1)
	return o.works(ctx) == nil
}

func (o *outage) restore() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.until = time.Now()
	o.returns.Add(1)
	o.gone.Store(false)
	close(o.back)
	o.back = nil
	o.metrics.storeAway(false)
	o.log.Info("the store is back", "after", o.until.Sub(o.since))
}

// wait blocks while the store is away. The error is the cause of ctx's end.
func (o *outage) wait(ctx context.Context) error {
	if !o.away() {
		return nil
	}
	o.mu.Lock()
	back := o.back
	o.mu.Unlock()
	if back == nil {
		return nil
	}
	select {
	case <-back:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
