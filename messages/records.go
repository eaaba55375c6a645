package messages

import (
	"encoding/json"
	"time"
)

// Disposition is the one word a contact ends in. A flow may use its own words
// beside these.
type Disposition string

// The dispositions offhook itself derives. Queued and live calls have none.
const (
	DispositionCompleted     Disposition = "completed"      // the flow ran to its end
	DispositionPartial       Disposition = "partial"        // at least one answer, then the call ended
	DispositionHungUp        Disposition = "hung_up"        // answered, ended without an answer
	DispositionNoResponse    Disposition = "no_response"    // answered, no key was ever pressed
	DispositionOptedOut      Disposition = "opted_out"      // asked for no more calls; wins over all
	DispositionNoFlow        Disposition = "no_flow"        // no flow was there to run
	DispositionNoAnswer      Disposition = "no_answer"      // rang, nobody answered
	DispositionBusy          Disposition = "busy"           // the line was busy
	DispositionFailed        Disposition = "failed"         // the call failed; Reason and Status say how
	DispositionInvalidNumber Disposition = "invalid_number" // TeleSign: no such number
	DispositionBlocked       Disposition = "blocked"        // TeleSign refuses this number
	DispositionExpired       Disposition = "expired"        // not sent before its time ran out
	DispositionUnknown       Disposition = "unknown"        // sent to TeleSign, outcome not known
)

// HungUpBy says which side ended a call.
type HungUpBy string

// The sides.
const (
	HungUpByFlow   HungUpBy = "flow"   // we answered hangup
	HungUpByPerson HungUpBy = "person" // the person on the line did
)

// RecordSchema is the version of Record that this code writes.
const RecordSchema = 1

// Record is what is known of one call at its end. It is published to the records
// stream, keyed by CallID (or ExternalID when TeleSign never gave a call) and
// Revision: a later revision replaces an earlier one in every projection.
type Record struct {
	Schema      int               `json:"schema"`
	CallID      string            `json:"call_id,omitempty"`     // TeleSign's reference_id
	ExternalID  string            `json:"external_id,omitempty"` // ours, when we placed the call
	Revision    uint64            `json:"revision"`
	Disposition Disposition       `json:"disposition"`
	Reason      string            `json:"reason,omitempty"` // refines the disposition, e.g. too_long
	Status      string            `json:"status,omitempty"` // TeleSign's own last word, raw
	Flow        string            `json:"flow,omitempty"`
	FlowHash    string            `json:"flow_hash,omitempty"`
	Direction   string            `json:"direction,omitempty"` // inbound or outbound
	To          string            `json:"to,omitempty"`
	From        string            `json:"from,omitempty"`
	Contact     map[string]string `json:"contact,omitempty"`
	LastStep    string            `json:"last_step,omitempty"`
	HungUpBy    HungUpBy          `json:"hung_up_by,omitempty"`
	OptedOut    bool              `json:"opted_out,omitempty"`
	Prompts     int               `json:"prompts"`         // prompts the person heard, holds not counted
	Holds       int               `json:"holds,omitempty"` // answers that were not the flow's
	StartedAt   *time.Time        `json:"started_at,omitempty"`
	AnsweredAt  *time.Time        `json:"answered_at,omitempty"`
	EndedAt     *time.Time        `json:"ended_at,omitempty"`
	// Duration is TeleSign's figure in whole seconds; TalkSeconds is answered to
	// ended by TeleSign's clock. Both 0 when TeleSign did not say.
	Duration               int      `json:"duration_seconds"`
	TalkSeconds            float64  `json:"talk_seconds"`
	AudioRecordingFileName string   `json:"audio_recording_file_name,omitempty"`
	Answers                []Answer `json:"answers,omitempty"`
	Timeline               []Moment `json:"timeline,omitempty"`
}

// Key is what a record's revisions share: the call's id, or the external id of a
// dial that never became a call.
func (r Record) Key() string {
	if r.CallID != "" {
		return r.CallID
	}
	return r.ExternalID
}

// Answer is one saved answer, in the order they were given.
type Answer struct {
	Name  string    `json:"name"`
	Value string    `json:"value"` // the keys, never a number: "007" stays "007"
	Label string    `json:"label,omitempty"`
	Step  string    `json:"step"`
	At    time.Time `json:"at"`
}

// Moment is one line of a call's timeline: an event, what was decided, what was
// answered.
type Moment struct {
	At        time.Time       `json:"at"` // the event's arrival
	EventID   string          `json:"event_id"`
	Event     string          `json:"event"`
	Status    string          `json:"status,omitempty"`
	Digits    string          `json:"digits,omitempty"`
	Decision  string          `json:"decision"`         // what the step function made of it, e.g. answered, re-asked, copy, held
	Step      string          `json:"step,omitempty"`   // the step the call is in afterwards
	Reason    string          `json:"reason,omitempty"` // why, for holds and failures
	Action    json.RawMessage `json:"action,omitempty"` // the answer
	DecidedAt *time.Time      `json:"decided_at,omitempty"`
}

// CallStatus is where a call stands, from the queue to its end.
type CallStatus string

// The statuses of a call, in the order they happen.
const (
	CallQueued   CallStatus = "queued"   // placed, not yet sent to TeleSign
	CallDialing  CallStatus = "dialing"  // the POST to TeleSign is under way
	CallAccepted CallStatus = "accepted" // TeleSign accepted the dial; no event yet
	CallRefused  CallStatus = "refused"  // TeleSign refused the dial; final
	CallUnknown  CallStatus = "unknown"  // the POST's outcome is not known; an event will tell
	CallLive     CallStatus = "live"     // events are arriving
	CallEnded    CallStatus = "ended"    // call_completed has arrived; final
)

// Call is the API's read model of one call.
type Call struct {
	Status CallStatus `json:"status"`
	Intent *Intent    `json:"intent,omitempty"` // nil for calls we did not place
	Record Record     `json:"record"`           // as it stands; final once Status is final
}

// Flows is the API's answer to GET /v1/flows: the current version of each flow, by
// name.
type Flows struct {
	Flows map[string]string `json:"flows"` // name to content hash
}
