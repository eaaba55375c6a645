package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// Lag is what waits in NATS, for all workers together.
type Lag struct {
	Pending     uint64        // events that no worker has seen yet
	Unacked     uint64        // events that a worker has, or that wait for their retry
	Redelivered uint64        // of Unacked, those delivered more than once
	Oldest      time.Duration // age of the oldest event that is not processed; 0 when there is none
	Unseen      time.Duration // age of the oldest event that no worker has seen yet; 0 when there is none

	Late       uint64        // events in the late lane
	LateOldest time.Duration // age of the oldest of them; 0 when there is none

	Failed uint64 // messages in the failed stream
}

// Lag asks NATS what waits. It is three requests, and one for each oldest event that
// there is; it is for metrics, to be polled every few seconds.
func (b *Bus) Lag(ctx context.Context) (Lag, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	lag, err := b.lag(ctx)
	if err != nil {
		return Lag{}, messages.Errorf(messages.CodeUnavailable, "NATS: asking what waits: %w", err)
	}
	return lag, nil
}

func (b *Bus) lag(ctx context.Context) (Lag, error) {
	c, err := b.js.Consumer(ctx, messages.StreamEvents, messages.ConsumerEvents)
	if err != nil {
		return Lag{}, fmt.Errorf("consumer %s: %w", messages.ConsumerEvents, err)
	}
	events := c.CachedInfo()
	late, err := b.js.Stream(ctx, messages.StreamLate)
	if err != nil {
		return Lag{}, fmt.Errorf("stream %s: %w", messages.StreamLate, err)
	}
	failed, err := b.js.Stream(ctx, messages.StreamFailed)
	if err != nil {
		return Lag{}, fmt.Errorf("stream %s: %w", messages.StreamFailed, err)
	}
	lag := Lag{
		Pending:     events.NumPending,
		Unacked:     count(events.NumAckPending),
		Redelivered: count(events.NumRedelivered),
		Late:        late.CachedInfo().State.Msgs,
		Failed:      failed.CachedInfo().State.Msgs,
	}
	if lag.Late > 0 {
		lag.LateOldest = max(time.Since(late.CachedInfo().State.FirstTime), 0)
	}
	if lag.Pending+lag.Unacked > 0 {
		if lag.Oldest, err = b.oldest(ctx, events.AckFloor.Stream+1); err != nil {
			return Lag{}, fmt.Errorf("the oldest event: %w", err)
		}
	}
	if lag.Pending > 0 {
		if lag.Unseen, err = b.oldest(ctx, events.Delivered.Stream+1); err != nil {
			return Lag{}, fmt.Errorf("the oldest event that is not delivered: %w", err)
		}
	}
	return lag, nil
}

// oldest is the age of the first event from sequence on.
func (b *Bus) oldest(ctx context.Context, sequence uint64) (time.Duration, error) {
	s, err := b.js.Stream(ctx, messages.StreamEvents)
	if err != nil {
		return 0, err //nolint:wrapcheck // lag says what it is about
	}
	m, err := s.GetMsg(ctx, sequence, jetstream.WithGetMsgSubject(messages.SubjectsEvents))
	if errors.Is(err, jetstream.ErrMsgNotFound) { // processed, or expired, in the meantime
		return 0, nil
	}
	if err != nil {
		return 0, err //nolint:wrapcheck // as above
	}
	return max(time.Since(m.Time), 0), nil
}

func count(n int) uint64 { return uint64(max(n, 0)) }

// Progress is how far the workers have come with the events stream.
type Progress struct {
	Last      uint64 // the newest event
	Delivered uint64 // every event up to this one has been given to a worker
	Processed uint64 // every event up to this one is processed
}

// Progress asks NATS how far the workers have come, in two requests.
func (b *Bus) Progress(ctx context.Context) (Progress, error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	s, err := b.js.Stream(ctx, messages.StreamEvents)
	if err == nil {
		var c jetstream.Consumer
		if c, err = s.Consumer(ctx, messages.ConsumerEvents); err == nil {
			last, info := s.CachedInfo().State.LastSeq, c.CachedInfo()
			p := Progress{Last: last, Delivered: info.Delivered.Stream, Processed: info.AckFloor.Stream}
			if info.NumPending == 0 { // what has expired is never delivered, nor acked
				p.Delivered = max(p.Delivered, last)
				if info.NumAckPending == 0 {
					p.Processed = p.Delivered
				}
			}
			return p, nil
		}
	}
	return Progress{}, messages.Errorf(messages.CodeUnavailable, "NATS: asking how far events are processed: %w", err)
}

// AnswerWithin is the answer window.
func (b *Bus) AnswerWithin() time.Duration { return b.cfg.AnswerWithin }
