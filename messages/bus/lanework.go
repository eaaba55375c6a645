package bus

import (
	"context"
	"sync"
	"time"
)

// queue lets t be handled after everything of its partition that came before.
func (ln *lane) queue(intake, work context.Context, t *task, handlers *sync.WaitGroup) {
	key := t.msg.Subject()
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if behind, busy := ln.waiting[key]; busy {
		ln.waiting[key] = append(behind, t)
		return
	}
	ln.waiting[key] = nil
	handlers.Go(func() {
		for t := t; t != nil; t = ln.next(key) {
			ln.process(intake, work, t)
			ln.hand.release(1)
		}
	})
}

// next is what waits longest; when nothing does the partition is no longer busy.
func (ln *lane) next(key string) *task {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	behind := ln.waiting[key]
	if len(behind) == 0 {
		delete(ln.waiting, key)
		return nil
	}
	ln.waiting[key] = behind[1:]
	return behind[0]
}

// process handles t until it is settled, and holds what is behind it meanwhile. When it
// cannot go on with t, that and everything behind it in its partition is kept for
// leave, so that the next worker has them all.
func (ln *lane) process(intake, work context.Context, t *task) {
	l := ln.loop
	for {
		if !ln.stays(work, t) {
			return
		}
		l.slots <- struct{}{}
		if !ln.hold(t, l.cfg.Hold) {
			l.slots.release(1)
			ln.lose(t)
			return
		}
		r := t.handle(work)
		l.slots.release(1)
		t.finish()
		if r.verdict != verdictRetry || t.attempt >= l.cfg.MaxAttempts {
			t.settle(work, r)
			t.hold.release()
			return
		}
		delay := t.retry(r, delayAt(t.attempt, 100*time.Millisecond, laneRetryMost))
		ln.hold(t, delay+l.cfg.Hold)
		if !pause(intake, delay) || !ln.await(intake) {
			ln.mu.Lock()
			ln.left[t.msg.Subject()] = true
			ln.mu.Unlock()
		}
		t.attempt++
	}
}

// await waits until ready says that an attempt can succeed. It reports false when
// intake has ended.
func (ln *lane) await(intake context.Context) bool {
	for failures := 1; intake.Err() == nil; failures++ {
		err := ln.ready(intake)
		if err == nil {
			return intake.Err() == nil
		}
		if !pause(intake, delayAt(failures, 50*time.Millisecond, time.Second)) {
			return false
		}
	}
	return false
}

// stays reports whether t may be handled here: not when the drain time is over, and not
// behind something of its partition that is handed back. Then t is as well.
func (ln *lane) stays(work context.Context, t *task) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if work.Err() != nil {
		ln.left[t.msg.Subject()] = true
	}
	if !ln.left[t.msg.Subject()] {
		return true
	}
	ln.back = append(ln.back, t)
	return false
}

// hold keeps t, and what is behind it, from being delivered to anybody else for d. It
// reports false when t was already: the process had been stopped, or the store away,
// for too long.
func (ln *lane) hold(t *task, d time.Duration) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for _, behind := range ln.waiting[t.msg.Subject()] {
		behind.hold.extend(d)
	}
	return t.hold.extend(d)
}

// lose drops t, which is delivered to somebody else by now, and what is behind it: that
// must not be handled ahead of it. All of it comes again, here or elsewhere.
func (ln *lane) lose(t *task) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	key := t.msg.Subject()
	lost := append([]*task{t}, ln.waiting[key]...)
	ln.hand.release(len(lost) - 1) // t's place is released with its turn
	ln.waiting[key] = nil
	ln.disturbed.Store(true)
	for _, t := range lost {
		t.hold.release()
	}
	ln.loop.bus.counts.stale.Add(uint64(len(lost)))
}

// pause waits for d. It reports false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return ctx.Err() == nil
	}
}
