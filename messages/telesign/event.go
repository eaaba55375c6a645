package telesign

import (
	"encoding/json"
	"strings"
	"time"
)

// EventName names what happened on a call. TeleSign may send others than these.
type EventName string

// The events.
const (
	IncomingCall     EventName = "incoming_call"
	DialCompleted    EventName = "dial_completed" // the dialled call or leg was answered, or failed
	SpeakCompleted   EventName = "speak_completed"
	PlayCompleted    EventName = "play_completed"
	CallLegCompleted EventName = "call_leg_completed" // a dialled leg ended while the call goes on
	CallCompleted    EventName = "call_completed"     // the last event of a call; its answer is ignored
)

// Known reports whether n is one of the six events above.
func (n EventName) Known() bool {
	switch n {
	case IncomingCall, DialCompleted, SpeakCompleted, PlayCompleted, CallLegCompleted, CallCompleted:
		return true
	}
	return false
}

// unforeseen reports whether n looks like the completion of an action whose
// completion TeleSign does not name in anything that could be read.
func (n EventName) unforeseen() bool {
	return !n.Known() && strings.HasSuffix(string(n), "_completed")
}

// EndsPrompt reports whether n can be the end of speak, play or play_multiple.
func (n EventName) EndsPrompt() bool {
	return Completes(n, MethodSpeak) || Completes(n, MethodPlay) || Completes(n, MethodPlayMultiple)
}

// Completes reports whether event n can be the completion of an action sent. It is
// the one table of that. How play_multiple and send_dtmf complete is not
// documented: any unknown *_completed is taken for theirs, so that an unforeseen
// name does not hold a caller for ever.
func Completes(n EventName, sent Method) bool {
	switch sent {
	case MethodSpeak:
		return n == SpeakCompleted
	case MethodPlay:
		return n == PlayCompleted
	case MethodPlayMultiple:
		return n == PlayCompleted || n.unforeseen()
	case MethodSendDTMF:
		return n.unforeseen()
	case MethodDial:
		return n == DialCompleted || n == CallLegCompleted
	case MethodHangup:
		return n == CallCompleted
	}
	return false
}

// The statuses of success. TeleSign's words for failure are not documented:
// anything else is one.
const (
	StatusAnswered        = "answered"         // of dial_completed; seen
	StatusSpeakSuccessful = "speak_successful" // of speak_completed; seen
	StatusPlaySuccessful  = "play_successful"  // of play_completed; inferred from speak's
)

// Event is one webhook of TeleSign. Fields that an event does not have are zero.
type Event struct {
	Name        EventName
	ReferenceID string // the call's id, shared by all its events; opaque
	ExternalID  string // ours, echoed from the dial; empty on incoming calls

	To, From string // digits with country code, by the documentation; callers may come without one
	Status   string
	Digits   string // what the person pressed; "" when nothing or nothing was asked

	// What call_completed carries besides, and call_leg_completed may (inferred).
	Direction              string // "outbound" (seen) or "inbound" (inferred)
	Duration               int    // whole seconds
	CreatedOn              time.Time
	AnsweredOn             time.Time // zero when never answered
	EndedOn                time.Time
	AudioRecordingFileName string // empty when the call was not recorded

	// Members this package does not know, exactly as they came: at the top level
	// and inside data. nil when there are none.
	Extra, ExtraData map[string]json.RawMessage
}

// PromptSucceeded reports whether the prompt that e ends was heard: its status
// says so, or it has no status, or the person pressed keys anyway.
func (e Event) PromptSucceeded() bool {
	return e.Status == "" || e.Digits != "" || strings.HasSuffix(e.Status, "_successful")
}
