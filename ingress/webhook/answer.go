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

	flow, step string // of the worker's decision
	asked      bool   // a worker may have decided, whatever the answer is
}

func (a answer) status() int {
	if a.body == nil {
		return http.StatusServiceUnavailable
	}
	return http.StatusOK
}

// answer takes one event through the stream or into the spool. It returns inside
// the window, earlier when work ends, and up to twice AnswerMargin after it when the
// event itself took the whole window to arrive. When there is a crowd no worker is
// waited for; that wants a spool.
func (s *Server) answer(work context.Context, w window, env messages.Envelope, event telesign.Event, crowded bool) answer {
	if crowded && event.Name != telesign.CallCompleted {
		return s.fallback(work, w, env, event, because{outcome: outcomeSpooled, reason: reasonCrowded, text: "too many events wait for their answers", unstored: true})
	}
	s.letDrain(work)
	detour, around := s.detour()
	if event.Name == telesign.CallCompleted {
		s.fallbacks.rows.end(env.CallID)
		return s.store(work, w, env, around)
	}
	if around {
		return s.fallback(work, w, env, event, detour)
	}
	return s.ask(work, w, env, event)
}

// detour reports whether events go into the spool, and why: the stream is out of
// reach, or earlier events wait in the spool and are not to be overtaken.
func (s *Server) detour() (because, bool) {
	switch {
	case s.spool == nil:
		return because{}, false
	case !s.bus.Connected():
		return because{outcome: outcomeSpooled, reason: reasonAway, text: "NATS is away", unstored: true}, true
	case !s.spool.Empty():
		return because{outcome: outcomeSpooled, reason: reasonSpool, text: "the spool is not empty yet", unstored: true}, true
	case s.peers.behind(time.Now(), s.bus.HeardSpooling()):
		return because{outcome: outcomeSpooled, reason: reasonSpool, text: "the spool of another ingress is not empty yet", unstored: true}, true
	}
	return because{}, false
}

// drainPatience is how long an event waits for a spool that is being drained before it
// joins its tail: short against the window, long against a drain. Without it a busy
// ingress that adds an event for each one it has drained would go on holding callers
// long after the outage. (Measured at 2,000 events/s with publishes of 3 ms: 7,811
// events in 5 s went through the spool without it, none with it.)
const drainPatience = 100 * time.Millisecond

// letDrain waits for the spool to be drained, if that can be soon.
func (s *Server) letDrain(work context.Context) {
	if s.spool == nil || s.spool.Empty() || !s.bus.Connected() {
		return
	}
	ctx, cancel := context.WithTimeout(work, min(drainPatience, s.cfg.AnswerWithin/10))
	defer cancel()
	_ = s.spool.AwaitEmpty(ctx) // otherwise the event joins its tail
}

// store is for events whose answer TeleSign ignores: it is enough to keep them.
func (s *Server) store(work context.Context, w window, env messages.Envelope, around bool) answer {
	if err := s.keep(work, w, around, env); err != nil {
		return answer{outcome: outcomeUnstored, err: fmt.Errorf("store the event: %w", err)}
	}
	return answer{outcome: outcomeStored, body: nothing}
}

// ask is for all other events: a worker decides, or the fallback does.
func (s *Server) ask(work context.Context, w window, env messages.Envelope, event telesign.Event) (a answer) {
	question := env
	question.Deadline = env.Arrived.Add(s.cfg.AnswerWithin)
	pending, err := s.bus.Ask(question)
	if err != nil {
		return s.unstored(work, w, env, event, fmt.Errorf("publish the event: %w", err))
	}
	defer func() {
		pending.Close()
		s.countLate(pending)
		a.asked = true
	}()
	reply, err := await(work, pending, w.deadline.Add(-w.margin))
	decided := reply != nil && reply.Verdict == messages.VerdictDecided
	if reply == nil && work.Err() == nil && (err == nil || errors.Is(err, errNotStored)) {
		s.metrics.missed.Inc()
	}
	switch {
	case err != nil && decided:
		return s.decidedUnstored(work, w, env, pending, reply, fmt.Errorf("store the event: %w", err))
	case err != nil:
		return s.unstored(work, w, env, event, fmt.Errorf("store the event: %w", err))
	case decided:
		return s.decided(env, reply)
	case reply != nil:
		return s.fallback(work, w, env, event, because{outcome: outcomeHeld, reason: workersReason(reply.Reason), text: reply.Reason})
	}
	why := because{outcome: outcomeMissed, reason: reasonNoReply, text: "no reply inside the window"}
	if work.Err() != nil {
		why.reason, why.text = reasonStopping, context.Cause(work).Error()
	}
	return s.fallback(work, w, env, event, why)
}

func (s *Server) decided(env messages.Envelope, reply *messages.Reply) answer {
	s.fallbacks.rows.end(env.CallID)
	return answer{outcome: outcomeDecided, body: reply.Action, flow: reply.Flow, step: reply.Step}
}

// unstored is for an event that the stream is not known to have, and that nobody
// decided.
func (s *Server) unstored(work context.Context, w window, env messages.Envelope, event telesign.Event, err error) answer {
	if s.spool == nil {
		return answer{outcome: outcomeUnstored, err: err}
	}
	return s.fallback(work, w, env, event, because{outcome: outcomeSpooled, reason: reasonNotStored, text: "the stream did not confirm the event", err: err, unstored: true})
}

// decidedUnstored is for an event that the stream is not known to have although a
// worker decided it: kept in the spool it is as good as stored, and comes to the
// worker again as a redelivery.
func (s *Server) decidedUnstored(work context.Context, w window, env messages.Envelope, pending *bus.Pending, reply *messages.Reply, err error) answer {
	if s.spool != nil {
		kept := s.keep(work, w, true, env)
		if kept == nil {
			return s.decided(env, reply)
		}
		err = errors.Join(err, kept)
	}
	// The acknowledgement may have come meanwhile.
	if late, ok := poll(pending.Stored); ok && late == nil {
		return s.decided(env, reply)
	}
	return answer{outcome: outcomeUnstored, err: err}
}

// errNotStored is that of an event whose PubAck did not come.
var errNotStored = errors.New("no acknowledgement of the stream came in time")

// await waits for both the stream's acknowledgement and the worker's reply, until
// the time given or the end of work; no longer once the stream has refused. An error
// means that the event is not known to be stored; a nil reply that nobody decided.
func await(work context.Context, p *bus.Pending, until time.Time) (*messages.Reply, error) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	var reply *messages.Reply
	stored, replies := p.Stored, p.Reply
	for over := false; !over && (stored != nil || reply == nil); {
		select {
		case err := <-stored:
			if err != nil {
				return last(reply, replies), err
			}
			stored = nil
		case r := <-replies:
			reply, replies = &r, nil
		case <-timer.C:
			over = true
		case <-work.Done():
			over = true
		}
	}
	// What came in the very instant in which time ran out still counts.
	if stored != nil {
		if err, ok := poll(stored); !ok {
			return last(reply, replies), errNotStored
		} else if err != nil {
			return last(reply, replies), err
		}
	}
	return last(reply, replies), nil
}

// last is the reply that was received, or that is there.
func last(reply *messages.Reply, replies <-chan messages.Reply) *messages.Reply {
	if reply == nil {
		if r, ok := poll(replies); ok {
			return &r
		}
	}
	return reply
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

// countLate counts a reply that came after giving up and before p was closed. The bus
// counts those that come after.
func (s *Server) countLate(p *bus.Pending) {
	if _, ok := poll(p.Reply); ok {
		s.metrics.late.Add(1)
	}
}

// because is why the door answers by itself.
type because struct {
	outcome  outcome
	reason   reason // one of a closed set, for the metrics
	text     string // for the report, which stays with the call, and for the log
	err      error  // for the log alone; may be nil
	unstored bool   // the event is not known to be in the stream
}

// fallback chooses the answer that the door gives by itself. A report of it is in
// the stream or the spool before it is written, and so before the call's next event:
// state must not believe that the caller heard the worker's decision. An event that
// is not stored yet is kept together with its report, before it.
func (s *Server) fallback(work context.Context, w window, env messages.Envelope, event telesign.Event, why because) answer {
	body, told := s.fallbacks.answer(event, time.Now())
	report, err := reportOf(env, told, why.text)
	if err != nil {
		return answer{outcome: outcomeUntold, err: err}
	}
	failed := outcomeUntold
	if why.unstored {
		failed = outcomeUnstored
		err = s.keep(work, w, true, env, report)
	} else {
		err = s.keep(work, w, false, report)
	}
	if err != nil {
		return answer{outcome: failed, err: fmt.Errorf("answer %s (%s): %w", told, why.text, errors.Join(why.err, err))}
	}
	s.metrics.told.WithLabelValues(string(told)).Inc()
	if told == messages.ToldHold {
		s.metrics.holds.WithLabelValues(string(why.reason)).Inc()
	}
	err = fmt.Errorf("answered %s: %s", told, why.text)
	if why.err != nil {
		err = fmt.Errorf("%w: %w", err, why.err)
	}
	return answer{outcome: why.outcome, body: body, err: err}
}
