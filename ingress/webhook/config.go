package webhook

import (
	"cmp"
	"time"

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
	// or SSML in <speak>; default "One moment, please.". HoldLanguage is its
	// language tag; default "en-US".
	HoldText     string
	HoldLanguage string

	// Insecure accepts events without looking at their signature. Anybody who can
	// reach the listener can then steer calls.
	Insecure bool

	// MaxConnections is how many connections are open at once, more wait in the
	// kernel's backlog; default 8192. MaxInFlight is how many events wait for an
	// answer at once, more are refused with 503; default 4096. Keep MaxInFlight
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
	// then they get their fallback. Default 10 s. Shorter than AnswerWithin it costs
	// callers a hold that a worker would have spared them.
	Drain time.Duration
}

// WithDefaults is c with every zero field set to its default.
func (c Config) WithDefaults() Config {
	c.AnswerWithin = cmp.Or(c.AnswerWithin, 2500*time.Millisecond)
	c.AnswerMargin = cmp.Or(c.AnswerMargin, c.AnswerWithin/10)
	c.HoldText = cmp.Or(c.HoldText, "One moment, please.")
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
	if err := c.hold().Validate(); err != nil {
		return messages.FieldErrorf(messages.CodeUsage, "HoldText", "TeleSign would not say %q (%s): %w", c.HoldText, c.HoldLanguage, err)
	}
	return nil
}

// hold is the prompt of a caller who waits for a decision.
func (c Config) hold() telesign.Speak {
	return telesign.Speak{Message: c.HoldText, Language: c.HoldLanguage}
}
