package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

// Pending is an event on its way to a worker. Stored gets exactly one value: nil
// once the event is in the stream, otherwise why it is not known to be there. A lost
// connection is such a reason, and then the event may be there all the same. Reply
// gets one value if a worker answers. The values may come in either order.
type Pending struct {
	Stored <-chan error
	Reply  <-chan messages.Reply

	inbox *inbox
	token uint64
	ask   bool // counts as an open ask

	// Both have room for their one value, and are nil once they have had it. inbox.mu
	// guards them.
	stored chan error
	reply  chan messages.Reply
}

// Close forgets the question: its place is free, and a reply that comes later is
// dropped and counted. It must be called once the caller has stopped listening, and
// may be called again.
func (p *Pending) Close() {
	if p.inbox != nil {
		p.inbox.forget(p.token)
	}
}

// Ask publishes an event and opens an inbox for the reply. It returns as soon as the
// event is handed to the connection, and fails at once when there is none or when
// MaxAsks are open. The caller must Close what it gets. env.ReplyTo is overwritten.
func (b *Bus) Ask(env messages.Envelope) (*Pending, error) {
	p, err := b.inbox.open(true)
	if err != nil {
		return nil, err
	}
	env.ReplyTo = p.replySubject()
	m := &nats.Msg{Subject: messages.EventSubject(env.CallID), Header: env.Header(), Data: env.Body, Reply: p.storedSubject()}
	if err := b.nc.PublishMsg(m); err != nil {
		p.Close()
		return nil, publishError(m.Subject, err)
	}
	return p, nil
}

// Tell stores an envelope that nobody waits for and returns once it is stored.
func (b *Bus) Tell(ctx context.Context, env messages.Envelope) error {
	return b.publish(ctx, &nats.Msg{Subject: messages.EventSubject(env.CallID), Header: env.Header(), Data: env.Body})
}

// TellAll stores envelopes that nobody waits for, in their order, many on their way
// at once, and returns once all are stored. stored is how many of them, from the
// first, surely are; err is what became of the one after those. Of the rest some may
// be stored as well: telling them again is harmless, event ids are recognised. ctx
// bounds the whole.
func (b *Bus) TellAll(ctx context.Context, envs []messages.Envelope) (stored int, err error) {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	sent := make([]*sending, 0, len(envs))
	defer func() {
		for _, s := range sent {
			s.close()
		}
	}()
	var refused error // the first that could not be sent; nothing is sent after it
	for stored < len(envs) {
		for refused == nil && len(sent) < min(len(envs), stored+tellWindow) {
			env := envs[len(sent)]
			var s *sending
			if s, refused = b.send(&nats.Msg{Subject: messages.EventSubject(env.CallID), Header: env.Header(), Data: env.Body}); refused == nil {
				sent = append(sent, s)
			}
		}
		if stored == len(sent) {
			return stored, refused
		}
		if err := sent[stored].wait(ctx); err != nil {
			return stored, err
		}
		stored++
	}
	return stored, nil
}

// Reply sends a worker's reply to env, the event that is answered, on its ReplyTo. It
// hands the bytes to the connection and never waits, so ctx is not consulted. When
// nobody listens there any more, NATS says so at once, and that is counted and given
// to the function of OnUndelivered; an error means that it was not sent at all.
func (b *Bus) Reply(_ context.Context, env messages.Envelope, r messages.Reply) error {
	to := env.ReplyTo
	if !publishable(to) {
		return messages.Errorf(messages.CodeInvalid, "reply inbox %q is not a subject one can publish to", to)
	}
	m := &nats.Msg{Subject: to, Header: r.Header(), Data: r.Action, Reply: b.inbox.undeliveredSubject(env)}
	if err := b.nc.PublishMsg(m); err != nil {
		return publishError(to, err)
	}
	return nil
}

// OnUndelivered sets what is called with the call and event of a reply that nobody
// was listening for any more: the ingress that asked is gone, or gave up. It is to be
// set before anything is consumed. f runs on the goroutine that hears every PubAck
// and reply of this process, so it must not block.
func (b *Bus) OnUndelivered(f func(callID, eventID string)) { b.onUndelivered.Store(&f) }

// tellWindow is how many envelopes of a TellAll are on their way at once.
const tellWindow = 512

// maxInbox and maxIDs bound the subject of a reply and the encoded ids in its own
// reply subject, in bytes. Both travel in one protocol line, and the server closes a
// connection that sends a line above 4 KiB.
const (
	maxInbox = 512
	maxIDs   = 2 << 10
)

// publishable reports whether a reply may be sent to s. It comes from a message
// header, and what the server takes for a protocol error would cost everything else
// on this connection.
func publishable(s string) bool {
	if s == "" || len(s) > maxInbox || s[len(s)-1] == '.' {
		return false
	}
	before := byte('.')
	for i := range len(s) {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n', '\f', 0, '*', '>':
			return false
		case '.':
			if before == '.' {
				return false
			}
		}
		before = s[i]
	}
	return true
}

// PublishRecord stores one revision of a call record and returns once it is stored.
// The same revision again within the dedupe window is stored once.
func (b *Bus) PublishRecord(ctx context.Context, r messages.Record) error {
	body, err := json.Marshal(r)
	if err != nil {
		return messages.Errorf(messages.CodeInternal, "call record: %w", err)
	}
	m := &nats.Msg{Subject: messages.RecordSubject(r.Key()), Header: nats.Header{}, Data: body}
	m.Header.Set(jetstream.MsgIDHeader, fmt.Sprintf("%s:%d", url.PathEscape(r.Key()), r.Revision))
	return b.publish(ctx, m)
}

// PublishJob queues a dial job that belongs to no campaign and returns once it is
// stored. Queued twice it is delivered twice; the intent absorbs that.
func (b *Bus) PublishJob(ctx context.Context, j messages.DialJob) error {
	body, err := json.Marshal(j)
	if err != nil {
		return messages.Errorf(messages.CodeInternal, "dial job: %w", err)
	}
	return b.publish(ctx, &nats.Msg{Subject: messages.JobSubject(messages.CampaignDirect, messages.ZoneAny), Data: body})
}

// Park stores a failure and returns once it is stored. A missing Worker or FailedAt
// is filled in. Calling it again stores it again.
func (b *Bus) Park(ctx context.Context, f messages.Failure) error {
	return b.park(ctx, f, "")
}

// park is Park with a message id against storing a failure twice.
//
// A header block of more than 64 KiB cannot be stored. Only a stranger's message
// can come near that; it is parked without its own headers rather than not at all,
// and its error says so.
func (b *Bus) park(ctx context.Context, f messages.Failure, id string) error {
	if f.Worker == "" {
		f.Worker = b.cfg.Name
	}
	if f.FailedAt.IsZero() {
		f.FailedAt = time.Now()
	}
	err := b.publish(ctx, failureMessage(f, id))
	if messages.CodeOf(err) == messages.CodeTooLarge && len(f.Header) > 0 {
		f.Error = fmt.Sprintf("%d headers were too large to keep; %s", len(f.Header), f.Error)
		f.Header = nil
		err = b.publish(ctx, failureMessage(f, id))
	}
	return err
}

func failureMessage(f messages.Failure, id string) *nats.Msg {
	m := &nats.Msg{Subject: messages.FailedSubject(f.Kind), Header: f.FailureHeader(), Data: f.Body}
	if id != "" {
		m.Header.Set(jetstream.MsgIDHeader, id)
	}
	return m
}

// publish stores one message and waits for its PubAck. It fails at once without a
// connection, when the connection is lost, and when no stream takes the message;
// it does not try again, every caller has a way to.
func (b *Bus) publish(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := b.bounded(ctx)
	defer cancel()
	s, err := b.send(m)
	if err != nil {
		return err
	}
	defer s.close()
	return s.wait(ctx)
}

// bounded gives ctx the Timeout if it has no deadline.
func (b *Bus) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, b.cfg.Timeout)
}

// sending is a message on its way to a stream.
type sending struct {
	subject string
	pending *Pending
}

// send hands a message to the connection. What it returns is to be closed.
func (b *Bus) send(m *nats.Msg) (*sending, error) {
	p, err := b.inbox.open(false)
	if err != nil {
		return nil, err
	}
	m.Reply = p.storedSubject()
	if err := b.nc.PublishMsg(m); err != nil {
		p.Close()
		return nil, publishError(m.Subject, err)
	}
	return &sending{subject: m.Subject, pending: p}, nil
}

// wait waits for the PubAck.
func (s *sending) wait(ctx context.Context) error {
	select {
	case err := <-s.pending.Stored:
		return publishError(s.subject, err)
	case <-ctx.Done():
		return messages.Errorf(messages.CodeTimeout, "publish to %s: no confirmation in time, it may or may not be stored: %w", s.subject, context.Cause(ctx))
	}
}

func (s *sending) close() { s.pending.Close() }

// errCodeHeadersTooLarge is how a PubAck refuses a header block above 64 KiB;
// nats.go has no name for it.
const errCodeHeadersTooLarge = 10097

// publishError gives a failed publish its code; nil stays nil.
func publishError(subject string, err error) error {
	if err == nil {
		return nil
	}
	code := messages.CodeUnavailable
	var api *jetstream.APIError
	switch {
	case errors.Is(err, nats.ErrReconnectBufExceeded), errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		err = fmt.Errorf("%w (%w)", errDisconnected, err)
	case errors.Is(err, nats.ErrMaxPayload):
		code = messages.CodeTooLarge
	case errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamMessageExceedsMaximum || api.ErrorCode == errCodeHeadersTooLarge):
		code = messages.CodeTooLarge
	}
	return messages.Errorf(code, "publish to %s: %w", subject, err)
}
