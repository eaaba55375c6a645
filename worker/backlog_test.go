package worker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// consumeAll runs the process as a role does, with what it does when it starts behind.
func (p *process) consumeAll() (stop func()) {
	p.w.t.Helper()
	return p.w.run(func(ctx context.Context) error {
		serve, over := context.WithCancel(context.WithoutCancel(ctx))
		defer over()
		var serving, loops errgroup.Group
		serving.Go(func() error { return p.events.Run(serve) })
		loops.Go(func() error { return p.events.Consume(ctx, bus.ConsumerConfig{}) })
		loops.Go(func() error {
			return p.bus.ConsumeLate(ctx, bus.ConsumerConfig{}, p.events.StoreBack, p.events.HandleLate)
		})
		err := loops.Wait()
		over()
		return errors.Join(err, serving.Wait())
	})
}

// While no worker ran, a caller was put on hold. When workers are back, the event, the
// report of the hold and the end of the hold are there at once: nothing is decided for
// who waits until the others are stepped, and then what was due is delivered.
func TestABacklogIsSteppedBeforeAnybodyIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var callers []*caller
	for range 20 {
		c := w.place()
		callers = append(callers, c)
		begins := c.envelope("dial_completed answered")
		begins.ReplyTo = "test.nobody" // the ingress has given up
		noError(t, w.bus.Tell(within(t), begins))
		noError(t, w.bus.Tell(within(t), c.told(begins, "hold")))
	}
	eventually(t, "the events have missed their windows", func() bool {
		lag, err := w.bus.Lag(within(t))
		return err == nil && lag.Oldest >= w.bus.AnswerWithin()*4/5
	})
	var waiting []*bus.Pending
	var ends []messages.Envelope
	for _, c := range callers {
		ends = append(ends, c.envelope("speak_completed"))
		p, err := w.bus.Ask(ends[len(ends)-1])
		noError(t, err)
		defer p.Close()
		noError(t, receive(t, "the event's PubAck", p.Stored))
		waiting = append(waiting, p)
	}
	for range 2 {
		w.start(plan{bus: w.connect(w.nats.URL())}).consumeAll()
	}
	for i, c := range callers {
		c.wantHold(receive(t, "a reply", waiting[i].Reply), "the end of the hold", "late lane")
		noError(t, w.bus.Tell(within(t), c.told(ends[i], "hold")))
	}
	for _, c := range callers {
		eventually(t, "the dialogue goes on where it was", func() bool {
			if lag, err := w.bus.Lag(within(t)); err != nil || lag.Late > 0 {
				return false
			}
			end := c.envelope("speak_completed")
			r := c.ask(end)
			if r.Verdict == messages.VerdictHold {
				noError(t, w.bus.Tell(within(t), c.told(end, "hold")))
				<-time.After(300 * time.Millisecond) // the hold that the caller hears
				return false
			}
			c.wantAction(r, "the end of a hold", hello)
			return true
		})
	}
}

// A worker that starts while nothing waits, or only what is fresh, answers at once.
func TestAFreshBacklogIsAnswered(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	c := w.place()
	p, err := w.bus.Ask(c.envelope("dial_completed answered"))
	noError(t, err)
	defer p.Close()
	noError(t, receive(t, "the event's PubAck", p.Stored))
	w.start(plan{bus: w.connect(w.nats.URL())}).consumeAll()
	c.wantAction(receive(t, "the reply", p.Reply), "dial_completed", hello)
}
