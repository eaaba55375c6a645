package webhook

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/offhook/offhook/ingress/webhook/spool"
	"github.com/offhook/offhook/messages"
)

// Spool is where events wait for the stream; *spool.Spool is one.
type Spool interface {
	// Append keeps envelopes, all or none, and returns once they survive a crash,
	// or with an error when that is not known.
	Append(ctx context.Context, envs ...messages.Envelope) error
	// Drain hands what is kept to publish, oldest first and marked late, and forgets
	// what publish has stored; a *spool.PartialError says that it was not all. It
	// returns once nothing is left, or with publish's error.
	Drain(ctx context.Context, publish func(context.Context, []messages.Envelope) error) error
	// AwaitEmpty returns nil once everything that was put in has been drained.
	AwaitEmpty(ctx context.Context) error
	// NotEmpty has a value when something was put in since the last one was taken.
	NotEmpty() <-chan struct{}
	// Empty is cheap, and so is Stats.
	Empty() bool
	Stats() spool.Stats
}

// How the spool is drained.
const (
	connectedPoll = 50 * time.Millisecond // how often it is looked whether NATS is back
	drainFirst    = 50 * time.Millisecond // until the second try
	drainMost     = 2 * time.Second       // between two tries
	drainPublish  = 10 * time.Second      // for one batch
	drainLog      = 10 * time.Second      // between two lines about one trouble
)

// startDrain begins to drain the spool. What it returns lets that go on until the
// time given, ends it, and says what remains.
func (s *Server) startDrain(ctx context.Context) (stop func(until time.Time)) {
	if s.spool == nil {
		return func(time.Time) {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	last, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		var saying sync.WaitGroup
		talk, quiet := context.WithCancel(ctx)
		saying.Go(func() { s.saySpooling(talk) })
		s.drainSpool(ctx, last)
		quiet()
		saying.Wait()
	}()
	return func(until time.Time) {
		close(last)
		timer := time.AfterFunc(time.Until(until), cancel)
		<-ended
		timer.Stop()
		cancel()
		if !s.spool.Empty() {
			waits := s.spool.Stats()
			s.log.Warn("webhook: events remain in the spool; the next process on its directory publishes them", "events", waits.Events, "bytes", waits.Bytes)
		}
	}
}

// drainSpool moves what is in the spool to the stream whenever both are there, until
// ctx ends; or, once last is closed, until the spool is empty or NATS is away.
func (s *Server) drainSpool(ctx context.Context, last <-chan struct{}) {
	wait := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(drainFirst), backoff.WithMaxInterval(drainMost), backoff.WithMaxElapsedTime(0))
	away := false // since the last drain
	for ctx.Err() == nil {
		var pause <-chan time.Time
		switch {
		case s.spool.Empty():
			if over(last) {
				return
			}
		case !s.bus.Connected():
			if over(last) {
				return
			}
			away = true
			pause = time.After(connectedPoll)
		default:
			if away {
				away = false
				s.peers.back(time.Now())
			}
			began, waiting := time.Now(), s.spool.Stats()
			err := s.spool.Drain(ctx, s.publish)
			if err == nil {
				wait.Reset()
				if skipped, ok := s.throttle.allow("drained", drainLog); ok {
					s.log.Info("webhook: the spool was emptied into the stream", "events", waiting.Events, "took", time.Since(began).Round(time.Millisecond), "not_logged", skipped)
				}
				continue
			}
			if ctx.Err() != nil {
				return
			}
			delay := wait.NextBackOff()
			pause = time.After(delay)
			if skipped, ok := s.throttle.allow("drain", drainLog); ok {
				s.log.Warn("webhook: the spool could not be emptied into the stream; trying again", "in", delay, "error", err, "not_logged", skipped)
			}
		}
		if pause != nil {
			select {
			case <-pause:
			case <-ctx.Done():
			}
			continue
		}
		select {
		case <-s.spool.NotEmpty():
		case <-last:
		case <-ctx.Done():
		}
	}
}

func over(last <-chan struct{}) bool {
	_, closed := poll(last)
	return closed
}

// publish stores a batch of the spool in the stream, in order. What the stream will
// never take is parked; what it does not take now is an error, which says how far
// the batch is done.
func (s *Server) publish(ctx context.Context, envs []messages.Envelope) error {
	for done := 0; done < len(envs); {
		stored, err := s.tellAll(ctx, envs[done:])
		done += stored
		if err != nil && messages.CodeOf(err) == messages.CodeTooLarge && done < len(envs) {
			if err = s.park(ctx, envs[done], err); err == nil {
				done++
			}
		}
		if err != nil {
			return &spool.PartialError{Stored: done, Err: err}
		}
	}
	return nil
}

func (s *Server) tellAll(ctx context.Context, envs []messages.Envelope) (stored int, err error) {
	ctx, cancel := context.WithTimeout(ctx, drainPublish)
	defer cancel()
	if stored, err = s.bus.TellAll(ctx, envs); err != nil {
		return stored, fmt.Errorf("publish from the spool: %w", err)
	}
	return len(envs), nil
}

// park moves an envelope that the stream refuses for good to the failed set.
func (s *Server) park(ctx context.Context, env messages.Envelope, why error) error {
	ctx, cancel := context.WithTimeout(ctx, drainPublish)
	defer cancel()
	err := s.bus.Park(ctx, messages.Failure{
		Kind:     messages.FailureEvent,
		Reason:   messages.ReasonPoison,
		Error:    why.Error(),
		Attempts: 1,
		FailedAt: time.Now(),
		Subject:  messages.EventSubject(env.CallID),
		Header:   env.Header(),
		Body:     env.Body,
	})
	if err != nil {
		return fmt.Errorf("park event %s, which the stream refuses: %w", env.EventID, err)
	}
	s.metrics.spoolParked.Inc()
	s.log.Error("webhook: an event from the spool is refused by the stream for good; it is in the failed set",
		"event_id", env.EventID, "call", clip(env.CallID), "event", clip(env.Event), "error", why)
	return nil
}
