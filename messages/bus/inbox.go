package bus

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

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
// A token is the number of a Pending, in base 36. It lives until the Pending is closed
// or has all its values, so what nobody answers is forgotten with the question. Its
// handler only does a look-up and a send on a buffered channel: it can never be a slow
// consumer.
type inbox struct {
	bus    *Bus
	prefix string

	mu    sync.Mutex
	next  uint64
	asks  int
	waits map[uint64]*Pending
	said  int64 // Unix ns of the latest warning about a reply that nobody heard; of the inbox goroutine
}

func newInbox(b *Bus) *inbox {
	return &inbox{bus: b, prefix: nats.NewInbox(), waits: make(map[uint64]*Pending)}
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

func (p *Pending) storedSubject() string { return p.subject(".stored.") }
func (p *Pending) replySubject() string  { return p.subject(".reply.") }

func (p *Pending) subject(kind string) string {
	s := make([]byte, 0, maxInbox)
	s = append(append(s, p.inbox.prefix...), kind...)
	return string(strconv.AppendUint(s, p.token, tokenBase))
}

const tokenBase = 36

// undeliveredSubject is where NATS answers when nobody listens for the reply to env.
// It says all there is to know, so that nothing has to be remembered for a reply that
// arrives. Ids that are too long to travel in it are left out.
func (in *inbox) undeliveredSubject(env messages.Envelope) string {
	call, event := env.CallID, env.EventID
	if base64.RawURLEncoding.EncodedLen(len(call))+base64.RawURLEncoding.EncodedLen(len(event)) > maxIDs {
		call, event = "", ""
	}
	s := make([]byte, 0, maxInbox)
	s = append(append(s, in.prefix...), ".undelivered."...)
	s = appendID(s, call)
	s = append(s, '.')
	return string(appendID(s, event))
}

// appendID makes any id one token of a subject; the prefix keeps an empty one from
// being an empty token.
func appendID(s []byte, id string) []byte {
	return base64.RawURLEncoding.AppendEncode(append(s, '='), []byte(id))
}

func decodeID(token string) (string, error) {
	id, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, "="))
	return string(id), err //nolint:wrapcheck // the caller knows the token
}

// open makes the Pending that waits for a token. Only asks are bounded: plain publishes
// are bounded by their blocked callers, and must get through when the asks are at their
// limit.
func (in *inbox) open(ask bool) (*Pending, error) {
	p := &Pending{inbox: in, ask: ask, stored: make(chan error, 1)}
	p.Stored = p.stored
	if ask {
		p.reply = make(chan messages.Reply, 1)
		p.Reply = p.reply
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if ask {
		if in.asks >= in.bus.cfg.MaxAsks {
			return nil, messages.Errorf(messages.CodeUnavailable, "%d events are waiting for an answer, which is the limit (MaxAsks)", in.asks)
		}
		in.asks++
	}
	in.next++
	p.token = in.next
	in.waits[p.token] = p
	return p, nil
}

func (in *inbox) forget(token uint64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.remove(token)
}

// remove needs mu.
func (in *inbox) remove(token uint64) {
	if p := in.waits[token]; p != nil {
		delete(in.waits, token)
		if p.ask {
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
		err := parsePubAck(m)
		in.settle(rest, func(p *Pending) { p.resolve(err) })
	case "reply":
		r := messages.ParseReply(m.Header, m.Data)
		known := in.settle(rest, func(p *Pending) {
			if p.reply != nil {
				p.reply <- r
				p.reply = nil
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

// settle gives the token's Pending a value and forgets it when it has all of them. It
// reports whether the token was known.
func (in *inbox) settle(token string, give func(*Pending)) bool {
	number, err := strconv.ParseUint(token, tokenBase, 64)
	if err != nil {
		return false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	p := in.waits[number]
	if p == nil {
		return false
	}
	give(p)
	if p.stored == nil && p.reply == nil {
		in.remove(number)
	}
	return true
}

func (p *Pending) resolve(err error) {
	if p.stored != nil {
		p.stored <- err
		p.stored = nil
	}
}

// disconnected resolves every publish that was not confirmed: its PubAck, if there
// was one, is lost with the connection. Replies may still come after a reconnect.
func (in *inbox) disconnected() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for token, p := range in.waits {
		p.resolve(errLost)
		if p.reply == nil {
			in.remove(token)
		}
	}
}

// undeliveredLog is how often one of them is a warning; there can be hundreds at once.
const undeliveredLog = 10 * time.Second

func (in *inbox) undelivered(ids string) {
	total := in.bus.counts.undelivered.Add(1)
	first, second, _ := strings.Cut(ids, ".")
	call, callErr := decodeID(first)
	event, eventErr := decodeID(second)
	if err := errors.Join(callErr, eventErr); err != nil || call == "" || event == "" {
		in.bus.log.Error("nobody was listening for a reply any more, and its ids did not fit its subject", "ids", ids, "error", err)
		return
	}
	log := in.bus.log.Debug
	if now := time.Now().UnixNano(); now-in.said >= undeliveredLog.Nanoseconds() {
		log, in.said = in.bus.log.Warn, now
	}
	log("nobody was listening for a reply any more", "call", call, "event", event, "total", total)
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
	if plainPubAck(m.Data) {
		return nil
	}
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

// plainPubAck reports whether ack is a PubAck in the form in which nearly all come,
// {"stream":"name","seq":1}. It is for speed alone: whatever else there may be is left
// to the JSON decoder.
func plainPubAck(ack []byte) bool {
	rest, opened := bytes.CutPrefix(ack, []byte(`{"stream":"`))
	name, rest, named := bytes.Cut(rest, []byte(`",`))
	seq, numbered := bytes.CutPrefix(bytes.TrimPrefix(rest, []byte(" ")), []byte(`"seq":`)) // older servers put a space there
	digits, closed := bytes.CutSuffix(seq, []byte("}"))
	if !opened || !named || !numbered || !closed || len(name) == 0 || len(digits) == 0 || digits[0] == '0' {
		return false
	}
	for _, c := range name {
		if c < ' ' || c >= 0x80 || c == '"' || c == '\\' {
			return false
		}
	}
	for _, c := range digits {
		if c < '0' || c > '9' {
			return false
		}
	}
	return true
}
