package store

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/messages"
)

// An intent moves like this; what is not listed is left as it is:
//
//	              BeginTry   ResolveTry           ClaimIntent
//	absent        dialing    CodeNotFound         false
//	queued        dialing    CodeConflict         accepted
//	dialing       false      as resolved          accepted
//	unknown       false      accepted, refused    accepted
//	accepted      false      stays                stays
//	refused       false      stays                stays, bound
//
// It is stored as a hash: the JSON it was created with, never changed, and beside
// it the fields that do change, so that no script has to re-encode anything.
const (
	fieldIntent     = "intent"      // JSON of the immutable part
	fieldStatus     = "status"      // messages.CallStatus
	fieldTriedAt    = "tried_at"    // Unix microseconds, by Redis' clock
	fieldHTTPStatus = "http_status" // of the POST's answer, 0 without one
	fieldOutcome    = "outcome"     // of the POST
	fieldAnswerID   = "answer_id"   // call id by the POST's answer
	fieldCallID     = "call_id"     // call id by the call's events, which is the one that counts
)

// Resolution is how the POST of a try ended.
type Resolution struct {
	Status     messages.CallStatus // accepted, refused or unknown
	HTTPStatus int                 // TeleSign's, 0 when there was no answer
	Outcome    string              // TeleSign's status word, or ours
	CallID     string              // the reference_id of the answer, if it had one
}

// CreateIntent stores in as queued unless its id is taken: then the stored intent
// is returned, created is false and nothing is changed. What the caller set in
// Status and the fields after it is not stored.
func (s *Store) CreateIntent(ctx context.Context, in messages.Intent) (stored messages.Intent, created bool, err error) {
	body, err := encodeIntent(in)
	if err != nil {
		return messages.Intent{}, false, err
	}
	return s.intentScript(ctx, createIntentScript, in.ID, s.intentKeys(in.ID)[:1],
		body, in.NotAfter.UnixMilli(), s.config.CallRetention.Milliseconds())
}

// BeginTry takes the right to POST the intent's dial. True means: the intent is
// dialing now, its TriedAt is set, and DueIntents will list it once due has passed
// on Redis' clock, unless it is settled before. An intent gets true at most once,
// whoever asks and however often; false comes with the intent as it is stored.
//
// An intent that is not stored is taken from in, as a dial job carries it whole.
// NotAfter is the caller's to check; a job that comes too late is begun like any
// other and resolved as refused without a POST. After an error the right may have
// been used up: do not POST; the due set remembers.
func (s *Store) BeginTry(ctx context.Context, in messages.Intent, due time.Duration) (messages.Intent, bool, error) {
	body, err := encodeIntent(in)
	if err != nil {
		return messages.Intent{}, false, err
	}
	if due < 0 {
		return messages.Intent{}, false, messages.FieldErrorf(messages.CodeInvalid, "due", "%s is in the past", due)
	}
	return s.intentScript(ctx, beginTryScript, in.ID, s.intentKeys(in.ID),
		in.ID, body, in.NotAfter.UnixMilli(), due.Milliseconds(), s.config.CallRetention.Milliseconds())
}

// ResolveTry records how the POST ended and returns the intent as it is then. An
// intent that is accepted or refused keeps its status, e.g. when an event came
// before the POST's answer; an unknown one may still become either. All but
// unknown leave the due set. Repeating a resolution changes nothing.
//
// CodeNotFound when the intent is not stored, CodeConflict when no try was begun.
func (s *Store) ResolveTry(ctx context.Context, id string, r Resolution) (messages.Intent, error) {
	switch r.Status {
	case messages.CallAccepted, messages.CallRefused, messages.CallUnknown:
	default:
		return messages.Intent{}, messages.FieldErrorf(messages.CodeInvalid, "status", "%q does not resolve a try: use accepted, refused or unknown", r.Status)
	}
	in, resolved, err := s.intentScript(ctx, resolveTryScript, id, s.intentKeys(id),
		id, string(r.Status), r.HTTPStatus, r.Outcome, r.CallID, s.config.CallRetention.Milliseconds())
	switch {
	case err != nil:
		return messages.Intent{}, err
	case in.ID == "":
		return messages.Intent{}, noIntent(id)
	case !resolved:
		return in, messages.Errorf(messages.CodeConflict, "intent %s is %s: a try has to begin before it is resolved: %w", plain(id), in.Status, ErrConflict)
	}
	return in, nil
}

// ClaimIntent binds the intent that an event names to the event's call. The first
// call wins: it gets true, as often as it asks, and the intent is accepted. False
// without an error means that there is no such intent, so the call is not ours, or
// its intent has expired. Another call's claim gets the intent and an error that
// wraps ErrConflict.
func (s *Store) ClaimIntent(ctx context.Context, externalID, callID string) (messages.Intent, bool, error) {
	if callID == "" {
		return messages.Intent{}, false, messages.FieldErrorf(messages.CodeInvalid, "call_id", "empty: an intent is claimed for a call")
	}
	in, claimed, err := s.intentScript(ctx, claimIntentScript, externalID, s.intentKeys(externalID),
		externalID, callID, s.config.CallRetention.Milliseconds())
	if err == nil && !claimed && in.ID != "" {
		err = messages.Errorf(messages.CodeConflict, "intent %s is already the intent of call %s, not of %s: %w", plain(externalID), plain(in.CallID), plain(callID), ErrConflict)
	}
	return in, claimed, err
}

// Intent reads one intent. CodeNotFound when there is none, or no longer.
func (s *Store) Intent(ctx context.Context, id string) (messages.Intent, error) {
	fields, err := s.client.HGetAll(ctx, s.keys.intent(id)).Result()
	if err != nil {
		return messages.Intent{}, s.fail("loading intent "+plain(id), err)
	}
	if len(fields) == 0 {
		return messages.Intent{}, noIntent(id)
	}
	return s.decodeIntent(id, fields)
}

func noIntent(id string) error {
	return messages.Errorf(messages.CodeNotFound, "no call %s was placed here, or its retention has ended", plain(id))
}

// intentKeys are the keys of the scripts below, which share a hash tag.
func (s *Store) intentKeys(id string) []string {
	return []string{s.keys.intent(id), s.keys.due(messages.Partition(id))}
}

// intentScript runs a script that answers with a verdict and the intent, which is
// zero when it is not stored.
func (s *Store) intentScript(ctx context.Context, script *redis.Script, id string, names []string, args ...any) (messages.Intent, bool, error) {
	reply, err := script.Run(ctx, s.client, names, args...).Slice()
	if err != nil {
		return messages.Intent{}, false, s.fail("changing intent "+plain(id), err)
	}
	verdict, fields, ok := scriptReply(reply)
	if !ok {
		return messages.Intent{}, false, messages.Errorf(messages.CodeInternal, "intent %s: unexpected answer of a script: %v", plain(id), reply)
	}
	if len(fields) == 0 {
		return messages.Intent{}, verdict, nil
	}
	in, err := s.decodeIntent(id, fields)
	return in, verdict && err == nil, err
}

// scriptReply reads {verdict, {name, value, …}}.
func scriptReply(reply []any) (verdict bool, fields map[string]string, ok bool) {
	if len(reply) != 2 {
		return false, nil, false
	}
	number, isNumber := reply[0].(int64)
	flat, isFlat := reply[1].([]any)
	if !isNumber || !isFlat || len(flat)%2 != 0 {
		return false, nil, false
	}
	fields = make(map[string]string, len(flat)/2)
	for i := 0; i < len(flat); i += 2 {
		name, isName := flat[i].(string)
		value, isValue := flat[i+1].(string)
		if !isName || !isValue {
			return false, nil, false
		}
		fields[name] = value
	}
	return number == 1, fields, true
}

// encodeIntent is the immutable part of in.
func encodeIntent(in messages.Intent) ([]byte, error) {
	if in.ID == "" {
		return nil, messages.FieldErrorf(messages.CodeInvalid, "id", "empty: an intent needs an id")
	}
	in.Status, in.TriedAt, in.HTTPStatus, in.Outcome, in.CallID = "", nil, 0, "", ""
	body, err := json.Marshal(in)
	if err != nil {
		return nil, messages.Errorf(messages.CodeInvalid, "intent %s cannot be encoded: %w", plain(in.ID), err)
	}
	return body, nil
}

// decodeIntent joins the immutable part with the fields beside it.
func (s *Store) decodeIntent(id string, fields map[string]string) (messages.Intent, error) {
	broken := func(field string, err error) (messages.Intent, error) {
		return messages.Intent{}, messages.Errorf(messages.CodeInternal, "key %s: not an intent: field %s: %w", s.keys.intent(id), field, err)
	}
	var in messages.Intent
	if err := json.Unmarshal([]byte(fields[fieldIntent]), &in); err != nil {
		return broken(fieldIntent, err)
	}
	in.Status = messages.CallStatus(fields[fieldStatus])
	in.Outcome = fields[fieldOutcome]
	in.CallID = fields[fieldCallID]
	if in.CallID == "" {
		in.CallID = fields[fieldAnswerID]
	}
	if text, ok := fields[fieldTriedAt]; ok {
		micros, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return broken(fieldTriedAt, err)
		}
		at := time.UnixMicro(micros).UTC()
		in.TriedAt = &at
	}
	if text, ok := fields[fieldHTTPStatus]; ok {
		status, err := strconv.Atoi(text)
		if err != nil {
			return broken(fieldHTTPStatus, err)
		}
		in.HTTPStatus = status
	}
	return in, nil
}
