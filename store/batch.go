package store

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/redis/go-redis/v9"
)

// batch sends the commands of many goroutines in few round trips, which saves both
// sides most of their system calls. It never waits for a batch to fill: while fewer
// than tripsAtOnce are under way a command is sent at once, by its own goroutine; what
// comes meanwhile goes together with the next.
//
// Each command has its own answer and its own error. What is sent together fails
// together when the connection does; then it is unknown of each whether it was carried
// out. There is no order among commands.
type batch struct {
	client redis.UniversalClient

	mu      sync.Mutex
	trips   int // under way, each to end with next or in send
	waiting []*waiting
	closed  bool
	senders sync.WaitGroup // grows only under mu and before closed
}

// waiting is a command that goes with the next batch.
type waiting struct {
	command redis.Cmder
	done    chan struct{} // has room for its one value
}

const (
	// tripsAtOnce: with one, Redis and this process would work by turns; with more,
	// batches are smaller and cost both more.
	tripsAtOnce = 2
	// batchMost bounds what is lost with one connection.
	batchMost = 128
)

var waitings = sync.Pool{New: func() any { return &waiting{done: make(chan struct{}, 1)} }}

// do carries out a command and returns its error, which is also in it. When ctx ends
// while others' commands are waited for, it returns at once and the command may still
// be carried out: then neither it nor what it refers to may be used again.
func (b *batch) do(ctx context.Context, command redis.Cmder) error {
	if err := ctx.Err(); err != nil {
		return err //nolint:wrapcheck // Store.fail wraps it, like the client's errors
	}
	b.mu.Lock()
	if b.trips < tripsAtOnce || b.closed {
		b.trips++
		b.mu.Unlock()
		defer b.next()                        //nolint:contextcheck // what others wait for is not bound by this ctx
		return b.client.Process(ctx, command) //nolint:wrapcheck // as above
	}
	w, _ := waitings.Get().(*waiting)
	w.command = command
	b.waiting = append(b.waiting, w)
	b.mu.Unlock()
	select {
	case <-w.done:
	case <-ctx.Done():
		if !b.drop(w) {
			return ctx.Err() //nolint:wrapcheck // as above
		}
		command.SetErr(ctx.Err())
	}
	w.command = nil
	waitings.Put(w)
	return command.Err() //nolint:wrapcheck // as above
}

// drop takes back a command that is not on its way yet.
func (b *batch) drop(w *waiting) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.Index(b.waiting, w)
	if i >= 0 {
		b.waiting = slices.Delete(b.waiting, i, i+1)
	}
	return i >= 0
}

// next ends a trip that was made for one command. If others wait, it is their turn.
func (b *batch) next() {
	b.mu.Lock()
	turn, closed := len(b.waiting) > 0, b.closed
	switch {
	case !turn:
		b.trips--
	case !closed:
		b.senders.Go(b.send)
	}
	b.mu.Unlock()
	if turn && closed {
		b.send()
	}
}

// send sends what waits until nothing does. Its trips are nobody's own, so the
// client's limits alone bound them.
func (b *batch) send() {
	var all []*waiting
	for {
		if all = b.take(all[:0]); len(all) == 0 {
			return
		}
		pipe := b.client.Pipeline()
		for _, w := range all {
			_ = pipe.Process(context.Background(), w.command) // only takes it in
		}
		_, _ = pipe.Exec(context.Background()) // each command has its error
		for i, w := range all {
			all[i] = nil
			w.done <- struct{}{}
		}
		runtime.Gosched() // their next commands can go together, if they get to making them
	}
}

// take moves what waits to all. If that is nothing, the trip has ended.
func (b *batch) take(all []*waiting) []*waiting {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := min(len(b.waiting), batchMost)
	if n == 0 {
		b.trips--
		return all
	}
	all = append(all, b.waiting[:n]...)
	b.waiting = slices.Delete(b.waiting, 0, n)
	return all
}

// close closes the client, which ends all trips, and waits for those that others
// share. What comes later is the client's to refuse.
func (b *batch) close() error {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	err := b.client.Close()
	b.senders.Wait()
	return err //nolint:wrapcheck // Store.Close wraps it
}
