package flow

import (
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// The targets that are built in. They cannot be names of steps.
const (
	TargetHangup = "hangup" // end the call; the disposition is derived
	TargetRepeat = "repeat" // ask the same question again, at the cost of a try
)

// Defaults and bounds of the language. A file outside the bounds does not compile.
const (
	DefaultTries = 3 // times a question is asked when the file does not say

	MaxSource   = 1 << 20 // bytes of a file
	MaxSteps    = 1000    // steps of a flow
	MaxTries    = 20      // times a question may be asked
	MaxName     = 64      // bytes of a name: flow, step, column, answer, disposition
	MinDuration = 100 * time.Millisecond
	MaxDuration = 10 * time.Minute
)

// Program is a compiled flow. It is immutable: any number of calls read it at the
// same time. What it promises to the state machine:
//
//   - every target is the name of a step in Steps, TargetHangup, or, in the Routes
//     and Keys of a question only, TargetRepeat;
//   - a step that listens has something to say; one that says nothing goes on, or
//     ends the call, at once;
//   - every cycle of steps passes a step that listens.
type Program struct {
	Name     string
	Hash     string // of Source; see Hash
	Language string // of speak, a tag such as en-US; empty means TeleSign's default
	Source   []byte // the file, byte for byte
	Contact  []Column
	Start    Start
	Steps    map[string]*Step
	Order    []string // the steps' names as they stand in the file
}

// Column is a field of a contact that the flow uses.
type Column struct {
	Name     string
	Default  string // said when the contact's own is empty
	Required bool   // there is no Default
}

// Start says where a call begins: the name of a step, TargetHangup, or empty when
// the flow does not handle such calls. A call that we placed and nobody answered
// is always hung up.
type Start struct {
	Answered string // a call that we placed was answered
	Incoming string // somebody called one of our numbers
}

// Step is one step of a flow: what is said, what is listened for, what comes next.
//
// Of Next and Hangup at most one is set. Without a Question it is exactly one, and
// it takes effect when the prompt has ended; with a Question it takes effect after
// an Accepted answer, and both are empty when no key leads there.
type Step struct {
	Name     string
	Line     int // of the name in the file, from 1
	Column   int // likewise, in characters
	Prompt   Prompt
	Question *Question // nil when the step does not listen
	Next     string    // a target
	Hangup   string    // a disposition word: hang up and end in it
	OptOut   bool      // entering the step puts the person on the opt-out list
}

// Prompt is one thing that is said. With both Play and Speak, Speak is what the
// audio says, to be said instead when the audio fails.
type Prompt struct {
	Play     Text   // a URL
	Speak    Text   // plain words, or SSML
	Language string // of Speak; empty means TeleSign's default
}

// IsZero reports whether there is nothing to say.
func (p Prompt) IsZero() bool { return p.Play.IsZero() && p.Speak.IsZero() }

// Question is what a step listens for: the flow's question block merged with what
// the step names itself.
type Question struct {
	Collect telesign.CollectDigits // Max is at least 1; timers not in the file are 0
	Tries   int                    // times the question is asked in all, at least 1
	NoInput Retry                  // nothing was pressed
	Invalid Retry                  // something was pressed that means nothing here
	Save    string                 // the answer's name; empty saves nothing
	Accept  []Accept               // entries that are an answer, as they stand in the file
	Routes  map[string]string      // entries that lead to a target of their own
	Keys    map[string]string      // the same, from keys: lower in rank than Accept, never saved
	// Open accepts every entry that is not in Keys: there is no Accept and there are
	// no Routes.
	Open bool
	// Any goes to the step's Next after every completion, with or without an entry,
	// and never asks again: the file says nothing about what may be pressed. Implies
	// Open; NoInput, Invalid and Keys are zero.
	Any bool
}

// Retry is what happens when an entry is missing or wrong.
type Retry struct {
	Prompt Prompt // said instead of the step's own prompt when asking again; zero means the step's own
	Tries  int    // after so many of this kind, go to Next; 0 means only Question.Tries counts
	Next   string // the target when no try is left; empty only where this kind cannot happen
}

// Accept is one accepted entry, or a range of them.
type Accept struct {
	From  string // the entry, or the first of the range
	To    string // the last of the range; empty means From alone
	Label string // for reports
}

// MatchKind says what an entry means to a question.
type MatchKind string

// The kinds of match.
const (
	NoInput  MatchKind = "no_input" // nothing was pressed, or a terminator alone
	Invalid  MatchKind = "invalid"  // means nothing here
	Accepted MatchKind = "accepted" // an answer: go to the step's Next, or hang up with its Hangup
	Routed   MatchKind = "routed"   // go to Target
	Repeat   MatchKind = "repeat"   // ask again with the step's own prompt; costs a try, with none left as NoInput
)

// Match is what an entry means to a question.
type Match struct {
	Kind   MatchKind
	Value  string // what Question.Save saves, without a terminator; empty: save nothing
	Label  string // the label of Value, if it has one
	Target string // for Routed: a step or TargetHangup
}
