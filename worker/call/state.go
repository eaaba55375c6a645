package call

import (
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// Schema is the version of State and Entry that this code reads and writes. A
// worker that meets a newer one must leave the call to a newer worker.
const Schema = 1

// ErrNewerSchema means that a newer version of offhook wrote the state. The call
// is in order; this worker must not touch it.
var ErrNewerSchema = messages.Errorf(messages.CodeConflict, "the call's state was written by a newer version of offhook; let a newer worker take it")

// Facts are what a call is, as opposed to where it stands. They are fixed by its
// first event and never change, so that folding its arrivals again starts from
// the same ground. JSON names are short: a million live calls carry them.
type Facts struct {
	ExternalID string            `json:"x,omitempty"`
	Flow       string            `json:"f,omitempty"` // empty: no flow was there to run
	FlowHash   string            `json:"h,omitempty"`
	Direction  string            `json:"d"`
	To         string            `json:"to,omitempty"`
	From       string            `json:"fr,omitempty"`
	Attempt    int               `json:"n,omitempty"`
	Contact    map[string]string `json:"c,omitempty"`
}

// Directions of a call, in TeleSign's words.
const (
	Inbound  = "inbound"
	Outbound = "outbound"
)

// asked is which prompt of its step a caller was last given.
type asked string

const (
	askedNothing asked = ""        // the call has not begun
	askedPrompt  asked = "prompt"  // the step's own prompt
	askedNoInput asked = "noinput" // the re-prompt after nothing was pressed
	askedInvalid asked = "invalid" // the re-prompt after a wrong key
	askedApology asked = "apology" // the apology before a hangup that no flow wanted
	askedOver    asked = "over"    // hangup
)

// State is where a call stands. The zero State is a call nobody has heard of.
type State struct {
	Schema int    `json:"v"`
	Facts  *Facts `json:"F,omitempty"` // nil until an event has told which call this is
	CallID string `json:"-"`           // the key it is stored under

	// The place in the order of arrivals.
	LastAt  int64  `json:"t,omitempty"` // key of the newest applied entry, Unix µs
	LastID  string `json:"i,omitempty"` // its event id; told reports have their own
	LastSeq uint64 `json:"q,omitempty"` // its sequence in the stream, 0 if unknown
	// EventID is the newest event, reports apart: what the next report is about.
	// Stored only when it is not LastID, which it mostly is.
	EventID string `json:"e,omitempty"`
	Acted   bool   `json:"ac,omitempty"` // that event was answered with an action

	// What a copy of the newest event is known by; see copied. call_completed and
	// copies of the start leave it alone.
	Print     uint32 `json:"B,omitempty"` // its fingerprint, 0 when nothing can be a copy
	FirstAt   int64  `json:"f,omitempty"` // its arrival, Unix µs; stored only when it is not LastAt
	DecidedIn int64  `json:"D,omitempty"` // µs from then until it, or its last copy, was decided
	Copies    int    `json:"c,omitempty"` // of those that are limited, in a row
	Unsure    bool   `json:"u,omitempty"` // whether its answer was heard is not known
	Mute      bool   `json:"m,omitempty"` // its answer was no action

	// What the caller was told.
	Step    string `json:"s,omitempty"`
	Asked   asked  `json:"a,omitempty"`
	Instead bool   `json:"I,omitempty"` // the speech was said instead of the audio
	Held    bool   `json:"H,omitempty"` // something else was told since, such as a hold; the decision above is due
	Missing string `json:"M,omitempty"` // an event known only by its told report: nothing can be decided before it
	HeldAt  int64  `json:"T,omitempty"` // when the present row of holds began, Unix µs

	// The present question.
	Tries    int `json:"k,omitempty"` // times asked, all causes together
	NoInputs int `json:"ni,omitempty"`
	Invalids int `json:"in,omitempty"`

	// What came of it.
	Begun      int64    `json:"b,omitempty"` // when the conversation began, Unix µs
	DialStatus string   `json:"ds,omitempty"`
	Prompts    int      `json:"p,omitempty"`
	Holds      int      `json:"ho,omitempty"`
	Keyed      bool     `json:"K,omitempty"` // a key was pressed, right or wrong
	GaveUp     bool     `json:"g,omitempty"` // the last question was left without an answer
	FlowEnded  bool     `json:"fe,omitempty"`
	Word       string   `json:"w,omitempty"` // the disposition the flow named
	Fail       string   `json:"fl,omitempty"`
	OptedOut   bool     `json:"o,omitempty"`
	Answers    []answer `json:"A,omitempty"`
	End        *end     `json:"E,omitempty"` // call_completed has been applied
}

type answer struct {
	Name  string `json:"n"`
	Value string `json:"v"`
	Label string `json:"l,omitempty"`
	Step  string `json:"s"`
	At    int64  `json:"t"`
}

// end is what call_completed said. Times are Unix milliseconds, 0 when absent.
type end struct {
	At        int64  `json:"t,omitempty"` // its arrival, Unix µs
	ByFlow    bool   `json:"f,omitempty"`
	Direction string `json:"di,omitempty"` // only while the call has no facts, likewise the next two
	To        string `json:"to,omitempty"`
	From      string `json:"fr,omitempty"`
	Status    string `json:"s,omitempty"`
	Duration  int    `json:"d,omitempty"`
	Created   int64  `json:"c,omitempty"`
	Answered  int64  `json:"a,omitempty"`
	Ended     int64  `json:"e,omitempty"`
	Recording string `json:"r,omitempty"`
}

// Ended reports whether call_completed has been applied.
func (s State) Ended() bool { return s.End != nil }

// Entry is one arrival as the call's log keeps it: enough to fold the call again.
type Entry struct {
	ID   string `json:"i"`
	Key  int64  `json:"t"`           // its place in the order, Unix µs
	Seq  uint64 `json:"q,omitempty"` // its sequence in the stream
	Late bool   `json:"L,omitempty"` // came from a spool: Seq says nothing about its order
	Took int64  `json:"D,omitempty"` // µs from Key to when it was first stepped

	// Live: somebody waited for its answer when it was stepped. Otherwise: what was
	// answered then is not what the fold decides now.
	Live      bool `json:"l,omitempty"`
	Otherwise bool `json:"O,omitempty"`

	Told   *messages.Told `json:"T,omitempty"` // a report instead of an event
	Parked bool           `json:"P,omitempty"` // the event could not be stepped and is in the failed set

	Name   telesign.EventName `json:"e,omitempty"`
	Status string             `json:"s,omitempty"`
	Digits string             `json:"k,omitempty"`
	Sum    uint32             `json:"b,omitempty"`  // CRC-32 (IEEE) of the event's raw body; 0: nothing is a copy of it by its bytes
	To     string             `json:"to,omitempty"` // only when it is not the call's
	End    *end               `json:"E,omitempty"`  // of call_completed
}

// EventEntry is the entry for a webhook event that arrived at at. Its Sum is for
// the caller to set, who has the bytes.
func EventEntry(id string, at time.Time, seq uint64, late bool, e telesign.Event, facts *Facts) Entry {
	entry := Entry{ID: id, Key: at.UnixMicro(), Seq: seq, Late: late, Name: e.Name, Status: e.Status, Digits: e.Digits, To: e.To}
	if facts != nil && facts.To == e.To {
		entry.To = ""
	}
	if e.Name == telesign.CallCompleted {
		entry.End = &end{
			Status: e.Status, Duration: e.Duration, Recording: e.AudioRecordingFileName,
			Created: milli(e.CreatedOn), Answered: milli(e.AnsweredOn), Ended: milli(e.EndedOn),
		}
		entry.Status = ""
		if facts == nil {
			entry.End.Direction, entry.End.To, entry.End.From = e.Direction, e.To, e.From
		}
	}
	return entry
}

// ToldEntry is the entry for a told report that ingress made at at.
func ToldEntry(id string, at time.Time, seq uint64, late bool, told messages.Told) Entry {
	return Entry{ID: id, Key: at.UnixMicro(), Seq: seq, Late: late, Told: &told}
}

// ParkedEntry marks an event that was parked, so that the call can go on without
// it.
func ParkedEntry(id string, at time.Time, seq uint64, late bool, name string) Entry {
	return Entry{ID: id, Key: at.UnixMicro(), Seq: seq, Late: late, Parked: true, Name: telesign.EventName(name)}
}

func milli(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}
