package messages

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// IntentSchema is the version of Intent that this code writes.
const IntentSchema = 1

// Intent is a dial that somebody asked for. It is written before anything is sent
// to TeleSign and outlives every process, so that no crash can dial twice. Its id
// is the external_id that TeleSign echoes in the call's events.
type Intent struct {
	Schema    int               `json:"schema"`
	ID        string            `json:"id"` // see IntentID
	To        string            `json:"to"`
	CallerID  string            `json:"caller_id_number"`
	Flow      string            `json:"flow"`
	FlowHash  string            `json:"flow_hash"`
	Contact   map[string]string `json:"contact,omitempty"`
	Attempt   int               `json:"attempt"` // 1 for the first
	CreatedAt time.Time         `json:"created_at"`
	NotAfter  time.Time         `json:"not_after"` // never sent after this

	Status     CallStatus `json:"status"` // queued, dialing, accepted, refused or unknown
	TriedAt    *time.Time `json:"tried_at,omitempty"`
	HTTPStatus int        `json:"http_status,omitempty"` // TeleSign's, 0 when there was no answer
	Outcome    string     `json:"outcome,omitempty"`     // TeleSign's status word, or ours; see worker/dial
	CallID     string     `json:"call_id,omitempty"`     // TeleSign's reference_id, once known
}

// DialJob is one message of the jobs stream. It carries the whole intent, so that
// a job that waits costs Redis nothing. An intent of the same id that is already
// in Redis wins: a job that is queued twice dials once.
type DialJob struct {
	Intent Intent `json:"intent"`
	Trace  string `json:"trace,omitempty"` // W3C traceparent of the request that asked for it
	State  string `json:"state,omitempty"` // W3C tracestate that came with it
}

// IntentID derives the id of an intent from a key that is unique to the request:
// the same key gives the same id, so a repeated request cannot dial twice. The id
// is 35 ASCII characters and reveals nothing of the key.
func IntentID(key string) string {
	sum := sha256.Sum256([]byte(key))
	return "oh-" + hex.EncodeToString(sum[:16])
}

// PlaceCall is the body of POST /v1/calls.
type PlaceCall struct {
	To       string            `json:"to"`
	CallerID string            `json:"caller_id_number"`
	Flow     string            `json:"flow"`
	Contact  map[string]string `json:"contact,omitempty"`
	// Key makes the request idempotent: the same key never dials twice, and with
	// another body it is refused; of NotAfter, the first one stands. At most 200
	// bytes; empty means a fresh one.
	Key string `json:"idempotency_key,omitempty"`
	// NotAfter is when the call is no longer wanted; zero means in ten minutes.
	NotAfter time.Time `json:"not_after,omitzero"`
}

// PlacedCall answers a PlaceCall.
type PlacedCall struct {
	ID       string `json:"id"`                 // the intent's id; GET /v1/calls/{id} shows it
	Replayed bool   `json:"replayed,omitempty"` // an earlier request with this key had placed it
	// Warnings are about what is probably a mistake but may be meant, such as a
	// number too short to be dialled from abroad.
	Warnings []string `json:"warnings,omitempty"`
}
