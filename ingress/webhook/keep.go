package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/offhook/offhook/messages"
)

// window is the time that one event has.
type window struct {
	deadline time.Time     // the answer has left by then
	margin   time.Duration // of it, for what is done without a worker; and all that there is once work has ended
}

// windowFrom is the window of an event that arrived at began. One whose body took so
// long that no time is left for the stream gets two margins from now.
func (s *Server) windowFrom(began time.Time) window {
	deadline := began.Add(s.cfg.AnswerWithin)
	if least := time.Now().Add(min(2*s.cfg.AnswerMargin, s.cfg.AnswerWithin/2)); deadline.Before(least) {
		deadline = least
	}
	return window{deadline: deadline, margin: s.cfg.AnswerMargin}
}

// half is the middle of what is left.
func (w window) half() time.Time { return time.Now().Add(time.Until(w.deadline) / 2) }

// limit is a context that ends at the time given, or patience after work has ended.
func limit(work context.Context, until time.Time, patience time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithDeadline(context.WithoutCancel(work), until)
	stop := context.AfterFunc(work, func() { time.AfterFunc(patience, cancel) })
	return ctx, func() {
		stop()
		cancel()
	}
}

// keep returns once envelopes are stored, all of them in one place: the stream or
// the spool, whichever is to be tried first, then the other. The first gets half of
// the time that is left, so that neither can use up the window. An error means that
// they are not known to be stored in either.
func (s *Server) keep(work context.Context, w window, spoolFirst bool, envs ...messages.Envelope) error {
	if s.spool == nil {
		return s.tell(work, w.deadline, w.margin, envs)
	}
	if !s.bus.Connected() {
		return s.put(work, w.deadline, w.margin, envs)
	}
	first, second := s.tell, s.put
	if spoolFirst {
		first, second = second, first
	}
	err := first(work, w.half(), w.margin/2, envs)
	if err == nil {
		return nil
	}
	if other := second(work, w.deadline, w.margin/2, envs); other != nil {
		return errors.Join(err, other)
	}
	return nil
}

// tell stores envelopes in the stream.
func (s *Server) tell(work context.Context, until time.Time, patience time.Duration, envs []messages.Envelope) error {
	ctx, cancel := limit(work, until, patience)
	defer cancel()
	var err error
	if len(envs) == 1 {
		err = s.bus.Tell(ctx, envs[0])
	} else {
		_, err = s.bus.TellAll(ctx, envs)
	}
	if err != nil {
		return fmt.Errorf("store in the stream: %w", err)
	}
	return nil
}

// put stores envelopes in the spool.
func (s *Server) put(work context.Context, until time.Time, patience time.Duration, envs []messages.Envelope) error {
	ctx, cancel := limit(work, until, patience)
	defer cancel()
	if err := s.spool.Append(ctx, envs...); err != nil {
		return fmt.Errorf("store in the spool: %w", err)
	}
	return nil
}

// reportOf is the report of what event's caller is told. It stands after the event
// also by time of arrival, which is what orders envelopes that come from a spool.
func reportOf(event messages.Envelope, told messages.ToldAnswer, reason string) (messages.Envelope, error) {
	body, err := messages.Told{EventID: event.EventID, Answer: told, Reason: reason}.Encode()
	if err != nil {
		return messages.Envelope{}, fmt.Errorf("encode the told report: %w", err)
	}
	now := micros(time.Now())
	if !now.After(event.Arrived) {
		now = event.Arrived.Add(time.Microsecond)
	}
	return messages.Envelope{
		Kind:    messages.KindTold,
		EventID: messages.NewEventID(),
		CallID:  event.CallID,
		Event:   event.Event,
		Arrived: now,
		Trace:   event.Trace,
		State:   event.State,
		Body:    body,
	}, nil
}
