package webhook

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"strings"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// Path is where TeleSign posts its events.
const Path = "/telesign/events"

// MaxBody is the largest event body that is read, in bytes. TeleSign documents no
// limit; its published events are under 500 bytes.
const MaxBody = 64 << 10

// Config is what the door can be told. Zero fields take the values of WithDefaults.
type Config struct {
	// AnswerWithin is the window: how long after its arrival an event's answer
	// leaves at the latest; default 2.5 s. TeleSign documents no limit for Voice;
	// the nearest it has published, for SMS callbacks, is 5 s.
	AnswerWithin time.Duration
	// AnswerMargin is the end of the window that is kept for storing the told
	// report and writing the fallback; less than AnswerWithin, default a tenth of it.
	AnswerMargin time.Duration

	// HoldText is what the caller hears when no decision came in time: plain text
	// or SSML in <speak>; default "One moment, please.". ApologyText is what is said
	// before the call is ended, once it was held for HoldFor. HoldLanguage is the
	// language tag of both; default "en-US".
	HoldText     string
	ApologyText  string
	HoldLanguage string
	// Holds are the prompts of callers with certain numbers. The longest prefix
	// that either of an event's two numbers begins with wins, To before From.
	Holds []Hold
	// HoldFor is how long one call is held in a row; default 90 s. Then it gets the
	// apology, and its next event without a decision a hangup.
	HoldFor time.Duration

	// TLS serves HTTPS; nil serves plain HTTP. Whoever made it may have it read
	// other certificates while the door runs (GetCertificate). Only HTTP/1.1 is
	// offered, whatever its NextProtos says.
	TLS *tls.Config

	// Tracer makes a span of each event, as a child of what the request's
	// traceparent names, and the parent of what the workers make. nil makes none
	// and costs nothing; the request's own trace context then goes to the workers.
	Tracer trace.Tracer

	// Insecure accepts events without looking at their signature. Anybody who can
	// reach the listener can then steer calls.
	Insecure bool

	// MaxConnections is how many connections are open at once, more wait in the
	// kernel's backlog; default 8192. MaxInFlight is how many events wait for an
	// answer at once; default 4096. More get the fallback at once, kept in the spool
	// with its report; without a spool they are refused with 503. Keep MaxInFlight
	// below MaxConnections: over HTTP/1.1 a connection carries one event at a time,
	// so it would never be reached.
	MaxConnections int
	MaxInFlight    int

	ReadHeaderTimeout time.Duration // for the request line and headers; default 2 s
	ReadTimeout       time.Duration // for the whole request, headers included; default 2 s
	WriteTimeout      time.Duration // for writing an answer, counted from the end of the window; default 2 s
	IdleTimeout       time.Duration // between two requests of a connection; default 2 min
	MaxHeaderBytes    int           // for the request line and headers; default 16 KiB

	// Drain is how long Run waits, once told to stop, for the answers in flight;
	// then they get their fallback. What is left of it is for the spool. Default 10 s. Shorter than AnswerWithin it costs
	// callers a hold that a worker would have spared them.
	Drain time.Duration
}

// Hold is what callers hear whose number, or the one they called, begins with
// Prefix.
type Hold struct {
	Prefix   string // digits with country code, without +; "" replaces the prompts for everybody
	Language string // default Config.HoldLanguage
	Text     string
	Apology  string // default Config.ApologyText, in its language
}

// WithDefaults is c with every zero field set to its default.
func (c Config) WithDefaults() Config {
	c.AnswerWithin = cmp.Or(c.AnswerWithin, 2500*time.Millisecond)
	c.AnswerMargin = cmp.Or(c.AnswerMargin, c.AnswerWithin/10)
	c.HoldText = cmp.Or(c.HoldText, "One moment, please.")
	c.ApologyText = cmp.Or(c.ApologyText, "We are sorry, we cannot go on with this call. Goodbye.")
	c.HoldFor = cmp.Or(c.HoldFor, 90*time.Second)
	c.HoldLanguage = cmp.Or(c.HoldLanguage, "en-US")
	c.MaxConnections = cmp.Or(c.MaxConnections, 8192)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 4096)
	c.ReadHeaderTimeout = cmp.Or(c.ReadHeaderTimeout, 2*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 2*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 2*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 2*time.Minute)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 16<<10)
	c.Drain = cmp.Or(c.Drain, 10*time.Second)
	return c
}

// Validate checks every field; the error names the first bad one and its value.
func (c Config) Validate() error {
	for _, d := range []struct {
		field string
		value time.Duration
	}{
		{"AnswerWithin", c.AnswerWithin},
		{"AnswerMargin", c.AnswerMargin},
		{"HoldFor", c.HoldFor},
		{"ReadHeaderTimeout", c.ReadHeaderTimeout},
		{"ReadTimeout", c.ReadTimeout},
		{"WriteTimeout", c.WriteTimeout},
		{"IdleTimeout", c.IdleTimeout},
		{"Drain", c.Drain},
	} {
		if d.value <= 0 {
			return messages.FieldErrorf(messages.CodeUsage, d.field, "is %v, want a positive duration", d.value)
		}
	}
	for _, n := range []struct {
		field string
		value int
	}{
		{"MaxConnections", c.MaxConnections},
		{"MaxInFlight", c.MaxInFlight},
		{"MaxHeaderBytes", c.MaxHeaderBytes},
	} {
		if n.value <= 0 {
			return messages.FieldErrorf(messages.CodeUsage, n.field, "is %d, want a positive number", n.value)
		}
	}
	if c.AnswerMargin >= c.AnswerWithin {
		return messages.FieldErrorf(messages.CodeUsage, "AnswerMargin", "is %v, want less than AnswerWithin (%v)", c.AnswerMargin, c.AnswerWithin)
	}
	return c.checkPrompts()
}

// checkPrompts refuses what TeleSign would not say, and prefixes that match nothing.
func (c Config) checkPrompts() error {
	for _, prompt := range []struct {
		field string
		says  telesign.Speak
	}{
		{"HoldText", telesign.Speak{Message: c.HoldText, Language: c.HoldLanguage}},
		{"ApologyText", telesign.Speak{Message: c.ApologyText, Language: c.HoldLanguage}},
	} {
		if err := prompt.says.Validate(); err != nil {
			return messages.FieldErrorf(messages.CodeUsage, prompt.field, "TeleSign would not say %q (%s): %w", prompt.says.Message, prompt.says.Language, err)
		}
	}
	seen := make(map[string]bool, len(c.Holds))
	for i, h := range c.Holds {
		field := fmt.Sprintf("Holds[%d]", i)
		if strings.Trim(h.Prefix, "0123456789") != "" || len(h.Prefix) > telesign.MaxNumberDigits {
			return messages.FieldErrorf(messages.CodeUsage, field+".Prefix", "is %q, want up to %d digits, country code first, without +", h.Prefix, telesign.MaxNumberDigits)
		}
		if seen[h.Prefix] {
			return messages.FieldErrorf(messages.CodeUsage, field+".Prefix", "is %q, as that of another one", h.Prefix)
		}
		seen[h.Prefix] = true
		for _, says := range []telesign.Speak{h.hold(c), h.apology(c)} {
			if err := says.Validate(); err != nil {
				return messages.FieldErrorf(messages.CodeUsage, field, "TeleSign would not say %q (%s): %w", says.Message, says.Language, err)
			}
		}
	}
	return nil
}

// hold is the prompt of a caller who waits for a decision.
func (h Hold) hold(c Config) telesign.Speak {
	return telesign.Speak{Message: h.Text, Language: cmp.Or(h.Language, c.HoldLanguage)}
}

// apology is the prompt of a caller who waited for too long.
func (h Hold) apology(c Config) telesign.Speak {
	if h.Apology == "" {
		return telesign.Speak{Message: c.ApologyText, Language: c.HoldLanguage}
	}
	return telesign.Speak{Message: h.Apology, Language: cmp.Or(h.Language, c.HoldLanguage)}
}
