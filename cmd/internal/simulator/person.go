package simulator

import (
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// People gives a call its person. It is called once per call, under no lock and
// from many goroutines; what it returns belongs to that call alone.
type People func(call CallInfo) Person

// Person is whoever is at the other end of one call. Its methods are called one
// at a time and must not block: what takes time is said by durations, which
// Config.Speed divides.
type Person interface {
	// PickUp decides how a dial to this person ends. Not called for incoming calls.
	PickUp() Pickup
	// Hear decides what the person does while one prompt is said, and while the
	// call then listens. Called for every speak, play, play_multiple, send_dtmf and
	// dial that the call executes, in order.
	Hear(p Prompt) Reaction
}

// CallInfo says which call a person is wanted for.
type CallInfo struct {
	Index      int    // counts accepted and incoming calls from 0, in order of acceptance
	Direction  string // Inbound or Outbound
	To, From   string
	ExternalID string // of the dial, empty when there was none
}

// Directions of a call, in TeleSign's words.
const (
	Inbound  = "inbound"
	Outbound = "outbound"
)

// Outcome is how ringing ends, posted as the status of dial_completed. Only
// Answered is TeleSign's word; the others are guesses, and any further word may be
// used.
type Outcome string

// The outcomes.
const (
	Answered Outcome = telesign.StatusAnswered
	Busy     Outcome = "busy"
	NoAnswer Outcome = "no_answer"
	Failed   Outcome = "failed"
)

// Pickup is how and when ringing ends.
type Pickup struct {
	Outcome Outcome
	Ring    time.Duration
}

// Prompt is what a person hears.
type Prompt struct {
	Number int             // counts the call's prompts from 1
	Action telesign.Action // what the webhook asked for
	Length time.Duration   // how long it sounds if nothing stops it
	// Collect is what the call listens for, with the timers that really count. Nil:
	// keys are lost.
	Collect *telesign.CollectDigits
}

// Reaction is what a person does. All times count from the prompt's beginning.
type Reaction struct {
	Presses []Press
	// HangsUp ends the call at HangUpAt, if the prompt and its listening last that
	// long: nobody hangs up between prompts.
	HangsUp  bool
	HangUpAt time.Duration
}

// Press is one key pressed.
type Press struct {
	Key byte // 0-9 * # A-D; another one is posted as it is
	At  time.Duration
}

// keypad is every key a telephone has.
const keypad = "0123456789*#ABCD"

// Script is a person who does the same on every call.
type Script struct {
	Outcome Outcome       // empty: Answered
	Ring    time.Duration // 0: 3s
	// Replies are the keys pressed at the first, second, … prompt that collects
	// digits; "" is silence, and so is everything after the last.
	Replies []string
	// Early presses the keys while the prompt is still sounding.
	Early bool
	// HangUpIn is the prompt, counted from 1, in the middle of which the person
	// hangs up; 0: never.
	HangUpIn int
}

// Validate names the first field that cannot be played, and its value.
func (s Script) Validate() error {
	for _, reply := range s.Replies {
		if strings.Trim(reply, keypad) != "" {
			return messages.FieldErrorf(messages.CodeUsage, "Replies", "holds %q, want keys out of %s", reply, keypad)
		}
	}
	if s.Ring < 0 {
		return messages.FieldErrorf(messages.CodeUsage, "Ring", "is %s, want 0 (3s) or more", s.Ring)
	}
	if s.HangUpIn < 0 {
		return messages.FieldErrorf(messages.CodeUsage, "HangUpIn", "is %d, want 0 (never) or a prompt's number", s.HangUpIn)
	}
	return nil
}

// Scripted is people who all follow one script.
func Scripted(s Script) People {
	return func(CallInfo) Person { return &scripted{Script: s} }
}

type scripted struct {
	Script
	asked int // prompts that collected digits so far
}

// How fast a scripted person is. Shorter than any timer worth setting.
const (
	scriptedRing = 3 * time.Second
	scriptedPace = 250 * time.Millisecond // before the first key, and between keys
)

func (s *scripted) PickUp() Pickup {
	p := Pickup{Outcome: s.Outcome, Ring: s.Ring}
	if p.Outcome == "" {
		p.Outcome = Answered
	}
	if p.Ring == 0 {
		p.Ring = scriptedRing
	}
	return p
}

func (s *scripted) Hear(p Prompt) Reaction {
	var r Reaction
	if p.Number == s.HangUpIn {
		r.HangsUp, r.HangUpAt = true, p.Length/2
	}
	if p.Collect == nil {
		return r
	}
	s.asked++
	if s.asked > len(s.Replies) {
		return r
	}
	at := p.Length
	if s.Early {
		at = 0
	}
	for _, key := range []byte(s.Replies[s.asked-1]) {
		at += scriptedPace
		r.Presses = append(r.Presses, Press{Key: key, At: at})
	}
	return r
}
