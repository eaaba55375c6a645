package bus

import (
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
)

// Config is how one process uses NATS. Zero fields take the values of
// WithDefaults; only URL or InProcess must be given. What becomes part of a stream
// or a consumer (Replicas, AnswerWithin, the retentions) must be the same in every
// process: Setup refuses a difference.
type Config struct {
	URL             string // nats://host:port, several separated by commas
	Name            string // this process, as NATS monitoring and the failed stream show it; default "offhook"
	CredentialsFile string // a NATS .creds file; empty for none
	// InProcess is a nats-server inside this process, used instead of URL; an
	// embedded.Server is one.
	InProcess interface{ InProcessConn() (net.Conn, error) }

	Replicas         int           // of every stream and consumer: 1, 3 or 5; default 1
	AnswerWithin     time.Duration // the answer window, 250 ms to 1 min; default 2.5 s
	EventsRetention  time.Duration // how long events are kept, at least 10 min; default 168 h
	RecordsRetention time.Duration // how long call records are kept, at least 10 min; default 9600 h (400 days)
	MaxAsks          int           // asks that may be open at once, more are refused; default 8192
	Timeout          time.Duration // of a publish, ack or management request whose context has no deadline; default 5 s
}

// WithDefaults is c with every zero field set to its default.
func (c Config) WithDefaults() Config {
	orDefault(&c.Name, "offhook")
	orDefault(&c.Replicas, 1)
	orDefault(&c.AnswerWithin, 2500*time.Millisecond)
	orDefault(&c.EventsRetention, 168*time.Hour)
	orDefault(&c.RecordsRetention, 400*24*time.Hour)
	orDefault(&c.MaxAsks, 8192)
	orDefault(&c.Timeout, 5*time.Second)
	return c
}

func orDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

const minRetention = 10 * time.Minute

// Validate reports the first field that cannot work, by name and value.
func (c Config) Validate() error {
	switch {
	case c.InProcess == nil && c.URL == "":
		return messages.FieldErrorf(messages.CodeUsage, "URL", "is empty; give the address of a NATS server, such as nats://127.0.0.1:4222")
	case c.InProcess != nil && c.URL != "":
		return messages.FieldErrorf(messages.CodeUsage, "URL", "is %q beside an in-process server; give one of them", redacted(c.URL))
	case strings.ContainsAny(c.Name, "\r\n"):
		return messages.FieldErrorf(messages.CodeUsage, "Name", "is %q; a name is one line", c.Name)
	case !slices.Contains([]int{1, 3, 5}, c.Replicas):
		return messages.FieldErrorf(messages.CodeUsage, "Replicas", "is %d; JetStream elects leaders among 1, 3 or 5", c.Replicas)
	case c.AnswerWithin < 250*time.Millisecond || c.AnswerWithin > time.Minute:
		return messages.FieldErrorf(messages.CodeUsage, "AnswerWithin", "is %s; want 250ms to 1m", c.AnswerWithin)
	case c.EventsRetention < minRetention:
		return messages.FieldErrorf(messages.CodeUsage, "EventsRetention", "is %s; want at least %s", c.EventsRetention, minRetention)
	case c.RecordsRetention < minRetention:
		return messages.FieldErrorf(messages.CodeUsage, "RecordsRetention", "is %s; want at least %s", c.RecordsRetention, minRetention)
	case c.MaxAsks < 1:
		return messages.FieldErrorf(messages.CodeUsage, "MaxAsks", "is %d; want at least 1", c.MaxAsks)
	case c.Timeout < 10*time.Millisecond:
		return messages.FieldErrorf(messages.CodeUsage, "Timeout", "is %s; want at least 10ms", c.Timeout)
	}
	if c.InProcess != nil {
		return nil
	}
	for _, u := range strings.Split(c.URL, ",") {
		if p, err := url.Parse(strings.TrimSpace(u)); err != nil || p.Host == "" {
			return messages.FieldErrorf(messages.CodeUsage, "URL", "is %q; want nats://host:port", redacted(u))
		}
	}
	return nil
}

// redacted is a server list without its passwords, for messages and logs.
func redacted(urls string) string {
	parts := strings.Split(urls, ",")
	for i, u := range parts {
		if p, err := url.Parse(strings.TrimSpace(u)); err == nil {
			parts[i] = p.Redacted()
		} else {
			parts[i] = "(unreadable address)" // it may hold a password anywhere
		}
	}
	return strings.Join(parts, ",")
}

// ConsumerConfig is how one consume loop runs. Zero fields take the values of
// WithDefaults.
type ConsumerConfig struct {
	// Slots is how many handlers run at once, and thereby how many messages this
	// process holds: nothing is fetched without a free slot. Default 64.
	Slots int
	// Drain is how long handlers may go on after the intake context has ended;
	// then theirs is cancelled. Default 10 s.
	Drain time.Duration
	// Hold is how long one handler may run: until then in-progress acks keep its
	// message from being delivered to anybody else, then its context is cancelled
	// and the acks stop. Default 10 s.
	Hold time.Duration
	// MaxAttempts is how many deliveries a message gets before it is parked as
	// exhausted. The default, 20, with the loop's own delays is at least five
	// minutes of a store that is down, and at most 20 crashes by one message.
	MaxAttempts int
}

// WithDefaults is c with every zero field set to its default.
func (c ConsumerConfig) WithDefaults() ConsumerConfig {
	orDefault(&c.Slots, 64)
	orDefault(&c.Drain, 10*time.Second)
	orDefault(&c.Hold, 10*time.Second)
	orDefault(&c.MaxAttempts, 20)
	return c
}

// Validate reports the first field that cannot work, by name and value.
func (c ConsumerConfig) Validate() error {
	switch {
	case c.Slots < 1:
		return messages.FieldErrorf(messages.CodeUsage, "Slots", "is %d; want at least 1", c.Slots)
	case c.Drain < 0:
		return messages.FieldErrorf(messages.CodeUsage, "Drain", "is %s; want 0 or more", c.Drain)
	case c.Hold < 10*time.Millisecond:
		return messages.FieldErrorf(messages.CodeUsage, "Hold", "is %s; want at least 10ms", c.Hold)
	case c.MaxAttempts < 1:
		return messages.FieldErrorf(messages.CodeUsage, "MaxAttempts", "is %d; want at least 1", c.MaxAttempts)
	}
	return nil
}
