package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
)

// answer is how one event is answered.
type answer struct {
	outcome outcome
	body    []byte // nil when the outcome is a 503
	err     error  // why it is not a worker's decision, for the log
}

func (a answer) status() int {
	if a.body == nil {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// answer takes one event through the stream. It returns inside the window, earlier
// when work ends, and up to twice AnswerMargin after it when the event itself took
// the whole window to arrive.
func (s *Server) answer(work context.Context, env messages.Envelope, event telesign.Event, began time.Time) answer {
	deadline := began.Add(s.cfg.AnswerWithin)
	if event.Name == telesign.CallCompleted {
		return s.store(work, env, deadline)
	}
	return s.ask(work, env, event, deadline)
}

// store is for events whose answer TeleSign ignores: it is enough to keep them.
func (s *Server) store(work context.Context, env messages.Envelope, deadline time.Time) answer {
	ctx, cancel := context.WithDeadline(work, s.patience(deadline))
	defer cancel()
	if err := s.bus.Tell(ctx, env); err != nil {
		return answer{outcome: outcomeUnstored, err: fmt.Errorf("store the event: %w", err)}
	}
	return answer{outcome: outcomeStored, body: nothing}
}

// ask is for all other events: a worker decides, or the fallback does.
func (s *Server) ask(work context.Context, env messages.Envelope, event telesign.Event, deadline time.Time) answer {
	env.Deadline = env.Arrived.Add(s.cfg.AnswerWithin)
	pending, err := s.bus.Ask(env)
	if err != nil {
		return answer{outcome: outcomeUnstored, err: fmt.Errorf("publish the event: %w", err)}
	}
	reply, err := await(work, pending, s.patience(deadline.Add(-s.cfg.AnswerMargin)))
	pending.Close()
	switch {
	case err != nil:
		return answer{outcome: outcomeUnstored, err: fmt.Errorf("store the event: %w", err)}
	case reply == nil:
		s.countLate(pending)
		reason := "no reply inside the window"
		if work.Err() != nil {
			reason = context.Cause(work).Error()
		}
		return s.fallback(work, env, event, deadline, outcomeMissed, reason)
	case reply.Verdict == messages.VerdictDecided:
		return answer{outcome: outcomeDecided, body: reply.Action}
	}
	return s.fallback(work, env, event, deadline, outcomeHeld, reply.Reason)
}

// patience is until, or AnswerMargin from now if that is later: also for an event
// that arrived late the stream gets the time of a round trip.
func (s *Server) patience(until time.Time) time.Time {
	if earliest := time.Now().Add(s.cfg.AnswerMargin); until.Before(earliest) {
		return earliest
	}
	return until
}

// errNotStored is that of an event whose PubAck did not come.
var errNotStored = errors.New("no acknowledgement of the stream came in time")

// await waits for both the stream's acknowledgement and the worker's reply, until
// the time given or the end of work. An error means that the event is not known to
// be stored; a nil reply that it is, and nobody decided.
func await(work context.Context, p *bus.Pending, until time.Time) (*messages.Reply, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	var reply *messages.Reply
	stored, replies := p.Stored, p.Reply
	for timeUp := false; !timeUp; {
		select {
		case err := <-stored:
			if err != nil {
				return nil, err
			}
			stored = nil
		case r := <-replies:
			reply, replies = &r, nil
		case <-timer.C:
			timeUp = true
		case <-work.Done():
			timeUp = true
		}
		if stored == nil && reply != nil {
			return reply, nil
		}
	}
	// What came in the very instant in which time ran out still counts.
	if stored != nil {
		if err, ok := poll(stored); !ok {
			return nil, errNotStored
		} else if err != nil {
			return nil, err
		}
	}
	if r, ok := poll(replies); ok {
		reply = &r
	}
	return reply, nil
}

// poll receives what ch holds already.
func poll[T any](ch <-chan T) (v T, ok bool) {
	select {
	case v = <-ch:
		return v, true
	default:
		return v, false
	}
}

// fallback chooses the answer that the door gives by itself. A report of it is in
// the stream before it is written, and so before the call's next event: state must
// not believe that the caller heard the worker's decision.
func (s *Server) fallback(work context.Context, env messages.Envelope, event telesign.Event, deadline time.Time, why outcome, reason string) answer {
	body, told := s.fallbacks.answer(event)
	if err := s.report(work, env, messages.Told{EventID: env.EventID, Answer: told, Reason: reason}, deadline); err != nil {
		return answer{outcome: outcomeUntold, err: fmt.Errorf("answer %s (%s): %w", told, reason, err)}
	}
	return answer{outcome: why, body: body, err: fmt.Errorf("answered %s: %s", told, reason)}
}

// report stores what event's caller is about to be told. It waits until the
// deadline, but at least AnswerMargin, and no longer than that once work has ended.
func (s *Server) report(work context.Context, event messages.Envelope, told messages.Told, deadline time.Time) error {
	body, err := told.Encode()
	if err != nil {
		return fmt.Errorf("encode the told report: %w", err)
	}
	ctx, cancel := context.WithDeadline(context.WithoutCancel(work), s.patience(deadline))
	defer cancel()
	defer context.AfterFunc(work, func() { time.AfterFunc(s.cfg.AnswerMargin, cancel) })()
	err = s.bus.Tell(ctx, messages.Envelope{
		Kind:    messages.KindTold,
		EventID: messages.NewEventID(),
		CallID:  event.CallID,
		Event:   event.Event,
		Arrived: micros(time.Now()),
		Trace:   event.Trace,
		Body:    body,
	})
	if err != nil {
		return fmt.Errorf("store the told report: %w", err)
	}
	return nil
}

// countLate counts a reply that came between giving up and closing p. The bus
// counts those that come after.
func (s *Server) countLate(p *bus.Pending) {
	if _, ok := poll(p.Reply); ok {
		s.metrics.late.Add(1)
	}
}
