package telesign

import "slices"

// AnswerTable says which actions may answer which event. The zero value is
// Lenient.
type AnswerTable int

// The tables.
const (
	// Lenient allows what TeleSign documents and what its samples do besides:
	// dial after dial_completed, speak_completed and call_leg_completed (seen), and
	// so after play_completed (inferred).
	Lenient AnswerTable = iota
	// Strict allows what TeleSign documents. For events whose answers it does not
	// document: everything but dial, which it documents as refused there.
	Strict
)

// String is the table's name.
func (t AnswerTable) String() string {
	if t == Strict {
		return "strict"
	}
	return "lenient"
}

// Allowed is the actions that may answer event, most usual first. It is empty for
// call_completed, whose answer is ignored, and for unknown events that complete
// nothing. To answer with no action is always allowed.
func (t AnswerTable) Allowed(event EventName) []Method {
	switch {
	case event == IncomingCall: // documented
		return []Method{MethodSpeak, MethodPlay, MethodPlayMultiple, MethodDial, MethodHangup}
	case event == CallCompleted || !event.Known() && !event.unforeseen():
		return nil
	}
	// dial_completed's are documented; the others' inferred from them.
	allowed := []Method{MethodSpeak, MethodPlay, MethodPlayMultiple, MethodSendDTMF, MethodHangup}
	if t == Lenient {
		allowed = append(allowed, MethodDial)
	}
	return allowed
}

// Allows reports whether m may answer event.
func (t AnswerTable) Allows(event EventName, m Method) bool {
	return slices.Contains(t.Allowed(event), m)
}
