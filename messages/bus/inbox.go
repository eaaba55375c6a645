package bus

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/offhook/offhook/messages"
)

var (
	errDisconnected = errors.New("not connected to NATS")
	errLost         = errors.New("the connection was lost before NATS confirmed; it may or may not be stored")
	errNoStream     = errors.New("no stream takes this subject, or its leader is away")
)

// inbox is the one subscription on which a process hears everything addressed to
// it. A subscription for each question would cost the server, and in a cluster every
// route, an interest change each way.
//
//	<prefix>.stored.<token>      the PubAck of a publish
//	<prefix>.reply.<token>       a worker's reply to an ask
//	<prefix>.undelivered.<call>.<event>  no responders: our reply to this event reached nobody
//
// A token lives until its Pending is closed or has all its values, so what nobody
// answers is forgotten with the question. Its handler only does a look-up and a
// send on a buffered channel: it can never be a slow consumer.
type inbox struct {
	bus    *Bus
	prefix string

	mu    sync.Mutex
	next  uint64
	asks  int
	waits map[string]*wait
}

// wait is what one token is waiting for. Both channels have room for their one
// value; a channel that has had it is nil.
type wait struct {
	ask    bool
	stored chan<- error
	reply  chan<- messages.Reply
}

func newInbox(b *Bus) *inbox {
	return &inbox{bus: b, prefix: nats.NewInbox(), waits: make(map[string]*wait)}
}

func (in *inbox) subscribe(nc *nats.Conn) error {
	if _, err := nc.Subscribe(in.prefix+".>", in.receive); err != nil {
		return messages.Errorf(messages.CodeUnavailable, "NATS: subscribing to the reply inbox: %w", err)
	}
	if err := nc.Flush(); err != nil { // nobody may publish before the server knows the inbox
		return messages.Errorf(messages.CodeUnavailable, "NATS: subscribing to the reply inbox: %w", err)
	}
	return nil
}

func (in *inbox) storedSubject(token string) string { return in.prefix + ".stored." + token }
func (in *inbox) replySubject(token string) string  { return in.prefix + ".reply." + token }

// undeliveredSubject is where NATS answers when nobody listens for the reply to env.
// It says all there is to know, so that nothing has to be remembered for a reply that
// arrives. Ids that are too long to travel in it are left out.
func (in *inbox) undeliveredSubject(env messages.Envelope) string {
	call, event := encodeID(env.CallID), encodeID(env.EventID)
	if len(call)+len(event) > maxIDs {
		call, event = encodeID(""), encodeID("")
	}
	return in.prefix + ".undelivered." + call + "." + event
}

// encodeID makes any id one token of a subject; the prefix keeps an empty one from
// being an empty token.
func encodeID(id string) string { return "=" + base64.RawURLEncoding.EncodeToString([]byte(id)) }

func decodeID(token string) (string, error) {
	id, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "="))
	return string(id), err //nolint:wrapcheck // the caller knows the token
}

// open makes a token and the Pending that waits for it. Only asks are bounded:
// plain publishes are bounded by their blocked callers, and must get through when
// the asks are at their limit.
func (in *inbox) open(ask bool) (string, *Pending, error) {
	stored := make(chan error, 1)
	w := &wait{ask: ask, stored: stored}
	p := &Pending{Stored: stored}
	if ask {
		reply := make(chan messages.Reply, 1)
		w.reply, p.Reply = reply, reply
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if ask {
		if in.asks >= in.bus.cfg.MaxAsks {
			return "", nil, messages.Errorf(messages.CodeUnavailable, "%d events are waiting for an answer, which is the limit (MaxAsks)", in.asks)
		}
		in.asks++
	}
	in.next++
	token := strconv.FormatUint(in.next, 36)
	in.waits[token] = w
	p.forget = func() { in.forget(token) }
	return token, p, nil
}

func (in *inbox) forget(token string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.remove(token)
}

// remove needs mu.
func (in *inbox) remove(token string) {
	if w := in.waits[token]; w != nil {
		delete(in.waits, token)
		if w.ask {
			in.asks--
		}
	}
}

func (in *inbox) openAsks() int {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.asks
}

func (in *inbox) receive(m *nats.Msg) {
	kind, rest, _ := strings.Cut(strings.TrimPrefix(m.Subject, in.prefix+"."), ".")
	switch kind {
	case "stored":
		in.settle(rest, func(w *wait) { w.resolve(parsePubAck(m)) })
	case "reply":
		r := messages.ParseReply(m.Header, m.Data)
		known := in.settle(rest, func(w *wait) {
			if w.reply != nil {
				w.reply <- r
				w.reply = nil
			}
		})
		if !known {
			in.bus.counts.lateReplies.Add(1)
		}
	case "undelivered":
		if noResponders(m) {
			in.undelivered(rest)
		}
	}
}

// settle gives the token's wait a value and forgets it when it has all of them. It
// reports whether the token was known.
func (in *inbox) settle(token string, give func(*wait)) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	w := in.waits[token]
	if w == nil {
		return false
	}
	give(w)
	if w.stored == nil && w.reply == nil {
		in.remove(token)
	}
	return true
}

func (w *wait) resolve(err error) {
	if w.stored != nil {
		w.stored <- err
		w.stored = nil
	}
}

// disconnected resolves every publish that was not confirmed: its PubAck, if there
// was one, is lost with the connection. Replies may still come after a reconnect.
func (in *inbox) disconnected() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for token, w := range in.waits {
		w.resolve(errLost)
		if w.reply == nil {
			in.remove(token)
		}
	}
}

func (in *inbox) undelivered(ids string) {
	in.bus.counts.undelivered.Add(1)
	first, second, _ := strings.Cut(ids, ".")
	call, callErr := decodeID(first)
	event, eventErr := decodeID(second)
	if err := errors.Join(callErr, eventErr); err != nil || call == "" || event == "" {
		in.bus.log.Error("nobody was listening for a reply any more, and its ids did not fit its subject", "ids", ids, "error", err)
		return
	}
	in.bus.log.Warn("nobody was listening for a reply any more", "call", call, "event", event)
	if f := in.bus.onUndelivered.Load(); f != nil {
		(*f)(call, event)
	}
}

// noResponders reports whether m is the server's answer that nobody subscribes to
// the subject that was published to.
func noResponders(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header.Get("Status") == "503"
}

// parsePubAck is nil for the PubAck of a stored message, also of one that the
// dedupe window recognised as stored before.
func parsePubAck(m *nats.Msg) error {
	if noResponders(m) {
		return errNoStream
	}
	var ack struct {
		Error  *jetstream.APIError `json:"error"`
		Stream string              `json:"stream"`
	}
	if err := json.Unmarshal(m.Data, &ack); err != nil {
		return fmt.Errorf("unreadable PubAck %.100q: %w", m.Data, err)
	}
	if ack.Error != nil {
		return ack.Error
	}
	if ack.Stream == "" {
		return fmt.Errorf("unreadable PubAck %.100q: no stream", m.Data)
	}
	return nil
}
