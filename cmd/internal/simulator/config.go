package simulator

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// Config is everything a Simulator can be told. Start from Defaults.
type Config struct {
	// WebhookURL is where events are posted; http or https.
	WebhookURL string
	// Account is the one account there is: requests must carry it, events are signed
	// with its key.
	Account telesign.Credentials

	// CallerIDs are the numbers the account owns. Empty: it owns every number.
	CallerIDs []string
	// Blocked refuses numbers with HTTP 200. The first that matches counts.
	Blocked []Block
	// RateLimit is how many requests a second are taken before 429; as many may come
	// at once. 0: no limit.
	RateLimit int

	// AnswerWindow is how long the webhook has to answer, from when the event goes out,
	// connecting included, to the last byte of the answer. Real time whatever Speed
	// says.
	AnswerWindow time.Duration
	// AnswerTable says which action may answer which event.
	AnswerTable telesign.AnswerTable

	// Speed divides all simulated waiting: 1 is real time, 50 fifty times faster.
	Speed float64
	// Seed is where all chance comes from, reference ids excepted.
	Seed uint64
	// People gives every call its person. Nil: Random with Seed and Mix.
	People People
	// Mix is how people behave when People is nil.
	Mix Mix

	// SpeechRate is how many characters a second are spoken.
	SpeechRate int
	// AudioLength is how long every audio file plays.
	AudioLength time.Duration
	// BrokenAudio are prefixes of audio URLs that cannot be played.
	BrokenAudio []string
	// LegLength is how long the leg of an answered dial lasts, ringing included.
	LegLength time.Duration
	// Recordings names a recording file in call_completed of answered calls.
	Recordings bool
	// Assume decides what TeleSign does not document.
	Assume Assumptions
	// Faults are what goes wrong, drawn from Seed.
	Faults []Fault
	// HoldTexts are what holds say: an answer that speaks one of them, in whatever
	// markup, with whatever pauses, and listens for nothing, is counted as a hold.
	// Empty: no answer is.
	HoldTexts []string

	// Grace is how long live calls have to post their call_completed when Run ends.
	Grace time.Duration
	// MaxConnections bounds the connections to the webhook, and with it the events
	// that are posted at one moment. An event waits for its turn outside the answer
	// window; the report shows the longest such wait.
	MaxConnections int
	// Transport carries the posts. Nil: a transport of the simulator's own, without
	// proxies, that reuses MaxConnections connections. A given one is not closed.
	Transport http.RoundTripper
	// Examples is how many invalid and how many missed answers the report shows in
	// full.
	Examples int
	// KeepTranscripts keeps every call's events and answers in memory until the
	// simulator is dropped: for tests, not for load.
	KeepTranscripts bool
}

// Block refuses the numbers that begin with Prefix; a whole number is its own
// prefix.
type Block struct {
	Prefix string
	// Status is one of the four words TeleSign has for this.
	Status telesign.DialStatus
}

// Assumptions decide what TeleSign does not document. None of the defaults is
// more than a guess that its samples make likely.
type Assumptions struct {
	// DigitTimeout and InterDigitTimeout count when an answer names no timer.
	DigitTimeout, InterDigitTimeout time.Duration
	// BargeIn lets a key stop the prompt. Without it the prompt plays to its end; keys
	// pressed meanwhile count either way.
	BargeIn bool
	// KeepTerminator makes the terminator part of collected_digits.
	KeepTerminator bool
	// NoDigits spells collected_digits when nothing was pressed.
	NoDigits NoDigits
	// ExternalIDOnce echoes external_id in dial_completed and in no other event.
	// Without it every event of a dialled call carries it.
	ExternalIDOnce bool
	// CompletePrompt posts the completion of a prompt in which the person hung up,
	// with the digits so far, before call_completed. Without it call_completed comes
	// at once.
	CompletePrompt bool
	// PlayMultipleCompleted and SendDTMFCompleted name the events after these actions.
	PlayMultipleCompleted, SendDTMFCompleted telesign.EventName
	// PlayFailed is the status of a prompt whose audio could not be played.
	PlayFailed string
	// PostAgain is how often an event that brought no answer is posted again, the same
	// bytes, after a pause of PostAgainAfter of real time each; when that brings none
	// either, or with 0, the call is hung up.
	PostAgain      int
	PostAgainAfter time.Duration
	// LegEvents is which events the leg of an answered dial posts.
	LegEvents LegEvents
}

// NoDigits is a spelling of "nothing was pressed".
type NoDigits string

// The spellings. Readers must take them for the same.
const (
	NoDigitsEmpty  NoDigits = "empty"  // ""
	NoDigitsNull   NoDigits = "null"   // null
	NoDigitsAbsent NoDigits = "absent" // no collected_digits at all
)

// Defaults is a Config that lacks only WebhookURL and Account.
func Defaults() Config {
	return Config{
		AnswerWindow: 5 * time.Second,
		Speed:        1,
		Seed:         1,
		Mix:          DefaultMix(),
		SpeechRate:   15,
		AudioLength:  5 * time.Second,
		LegLength:    20 * time.Second,
		Assume: Assumptions{
			DigitTimeout:          5 * time.Second,
			InterDigitTimeout:     3 * time.Second,
			BargeIn:               true,
			NoDigits:              NoDigitsEmpty,
			PlayMultipleCompleted: telesign.PlayCompleted,
			SendDTMFCompleted:     "send_dtmf_completed",
			PlayFailed:            "play_failed",
			PostAgainAfter:        time.Second,
			LegEvents:             LegCompleted,
		},
		Grace:          5 * time.Second,
		MaxConnections: 256,
		Examples:       5,
	}
}

const maxSpeed = 10_000 // above it a timer's own imprecision is longer than what it times

// Validate names the first setting that cannot work, and its value.
func (c Config) Validate() error {
	if u, err := url.Parse(c.WebhookURL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return setting("WebhookURL", "is %q, want an http or https URL", c.WebhookURL)
	}
	if err := c.Account.Validate(); err != nil {
		return setting("Account", "cannot work: %w", err) // the value is a secret
	}
	for _, n := range c.CallerIDs {
		if _, err := telesign.CheckNumber(n); err != nil {
			return setting("CallerIDs", "holds %q: %w", n, err)
		}
	}
	for _, b := range c.Blocked {
		if b.Prefix == "" || strings.Trim(b.Prefix, "0123456789") != "" {
			return setting("Blocked", "has the prefix %q, want digits", b.Prefix)
		}
		if !slices.Contains(blockWords(), b.Status) {
			return setting("Blocked", "refuses %s with %q, want one of %q", b.Prefix, b.Status, blockWords())
		}
	}
	if c.RateLimit < 0 {
		return setting("RateLimit", "is %d requests a second, want 0 (no limit) or more", c.RateLimit)
	}
	if !(c.Speed > 0 && c.Speed <= maxSpeed) { // also refuses NaN
		return setting("Speed", "is %v, want more than 0 and at most %d", c.Speed, maxSpeed)
	}
	if c.SpeechRate <= 0 {
		return setting("SpeechRate", "is %d characters a second, want at least 1", c.SpeechRate)
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{
		{"AnswerWindow", c.AnswerWindow},
		{"AudioLength", c.AudioLength},
		{"LegLength", c.LegLength},
		{"Grace", c.Grace},
		{"Assume.DigitTimeout", c.Assume.DigitTimeout},
		{"Assume.InterDigitTimeout", c.Assume.InterDigitTimeout},
	} {
		if d.value <= 0 {
			return setting(d.name, "is %s, want more than 0", d.value)
		}
	}
	if c.MaxConnections <= 0 {
		return setting("MaxConnections", "is %d, want at least 1", c.MaxConnections)
	}
	if c.Examples < 0 {
		return setting("Examples", "is %d, want 0 or more", c.Examples)
	}
	for _, f := range c.Faults {
		if err := f.validate(); err != nil {
			return setting("Faults", "cannot work: %w", err)
		}
	}
	for _, text := range c.HoldTexts {
		if spoken(text) == "" {
			return setting("HoldTexts", "holds %q, want words", text)
		}
	}
	if c.People == nil {
		if err := c.Mix.Validate(); err != nil {
			return err
		}
	}
	return c.Assume.validate()
}

func (a Assumptions) validate() error {
	switch a.NoDigits {
	case NoDigitsEmpty, NoDigitsNull, NoDigitsAbsent:
	default:
		return setting("Assume.NoDigits", "is %q, want %s, %s or %s", a.NoDigits, NoDigitsEmpty, NoDigitsNull, NoDigitsAbsent)
	}
	if a.PlayMultipleCompleted == "" {
		return setting("Assume.PlayMultipleCompleted", "is empty, want an event name")
	}
	if a.SendDTMFCompleted == "" {
		return setting("Assume.SendDTMFCompleted", "is empty, want an event name")
	}
	if a.PlayFailed == "" || a.PlayFailed == telesign.StatusPlaySuccessful {
		return setting("Assume.PlayFailed", "is %q, want a word that does not mean success", a.PlayFailed)
	}
	if a.PostAgain < 0 || a.PostAgainAfter < 0 {
		return setting("Assume.PostAgain, PostAgainAfter", "are %d and %s, want 0 or more", a.PostAgain, a.PostAgainAfter)
	}
	if err := a.LegEvents.validate(); err != nil {
		return setting("Assume.LegEvents", "cannot work: %w", err)
	}
	return nil
}

// setting is the error for one setting that is wrong.
func setting(name, format string, args ...any) error {
	return messages.FieldErrorf(messages.CodeUsage, name, format, args...)
}
