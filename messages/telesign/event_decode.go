package telesign

import (
	"encoding/json"
	"math"
	"time"

	"github.com/offhook/offhook/messages"
)

// ParseEvent reads the body of a webhook. It needs a JSON object with the strings
// event and reference_id, both not empty; event names it does not know are fine.
// Other members are looked for in data first, then at the top level, where
// TeleSign's own samples look for some; missing, null and "" are the same.
// Numbers may be strings, and digits a number.
//
// An error is a *messages.Error of CodeInvalid; its Field names the member that is
// of the wrong type: event, reference_id, external_id, data, status or
// collected_digits. Any other member that cannot be read stays in Extra or
// ExtraData instead, and so do status and collected_digits of an event whose name
// is unknown: nothing says what they should be.
//
// The event shares no memory with body. A body with a backslash, broken UTF-8 in a
// name or nesting beyond what TeleSign sends costs several times what others do.
func ParseEvent(body []byte) (Event, error) {
	top, err := readObject("", body)
	if err != nil {
		return Event{}, err
	}
	name, err := required(&top, "event")
	if err != nil {
		return Event{}, err
	}
	e := Event{Name: EventName(name)}
	if e.ReferenceID, err = required(&top, "reference_id"); err != nil {
		return Event{}, err
	}
	data, err := top.child("data")
	if err != nil {
		return Event{}, err
	}
	r := eventReader{top: &top, data: &data, carry: !e.Name.Known()}
	r.textIn(&top, "external_id", &e.ExternalID)
	r.text("status", &e.Status)
	r.keys("collected_digits", &e.Digits)
	// Nothing below decides what to answer: none of it is worth losing an event for.
	r.carry = true
	r.keys("to", &e.To)
	r.keys("from", &e.From)
	r.text("direction", &e.Direction)
	r.seconds("duration", &e.Duration)
	r.time("created_on_utc", &e.CreatedOn)
	r.time("answered_on_utc", &e.AnsweredOn)
	r.time("ended_on_utc", &e.EndedOn)
	r.text("audio_recording_file_name", &e.AudioRecordingFileName)
	if r.err != nil {
		return Event{}, r.err
	}
	e.Extra, e.ExtraData = top.rest(), data.rest()
	return e, nil
}

func required(o *object, name string) (string, error) {
	raw := o.take(name)
	s, err := textOf(o.at(name), raw)
	if err == nil && s == "" {
		err = messages.FieldErrorf(messages.CodeInvalid, o.at(name).String(), "is missing: not a TeleSign event")
	}
	return s, err
}

// eventReader reads the members of one event and keeps the first error.
type eventReader struct {
	top, data *object
	carry     bool // leave members of the wrong type where they are
	err       error
}

// holder is what has the member: data, or the top level if data has nothing there.
func (r *eventReader) holder(name string) *object {
	if raw := r.data.peek(name); !absent(raw) && string(raw) != `""` {
		return r.data
	}
	r.data.take(name)
	return r.top
}

// unread deals with a member of o that cannot be read.
func (r *eventReader) unread(o *object, name string, raw json.RawMessage, err error) {
	switch {
	case r.carry:
		o.put(name, raw)
	case r.err == nil:
		r.err = err
	}
}

func (r *eventReader) text(name string, dst *string) { r.textIn(r.holder(name), name, dst) }

func (r *eventReader) textIn(o *object, name string, dst *string) {
	raw := o.take(name)
	s, err := textOf(o.at(name), raw)
	if err != nil {
		r.unread(o, name, raw, err)
		return
	}
	*dst = s
}

// keys reads digits, which are text even where they are written as a number.
func (r *eventReader) keys(name string, dst *string) {
	o := r.holder(name)
	if raw := o.peek(name); kindOf(raw) == "a number" {
		*dst = string(o.take(name))
		return
	}
	r.textIn(o, name, dst)
}

// seconds drops fractions.
func (r *eventReader) seconds(name string, dst *int) {
	o := r.holder(name)
	raw := o.take(name)
	n, ok, err := numberOf(o.at(name), raw)
	if ok && (n < 0 || n > math.MaxInt32) {
		err = messages.FieldErrorf(messages.CodeInvalid, o.at(name).String(), "is %v, want seconds from 0", n)
	}
	if err != nil {
		r.unread(o, name, raw, err)
		return
	}
	*dst = int(n)
}

// time reads UTC times as TeleSign writes them, without a zone, and as others do.
// What is not a time is kept in data.
func (r *eventReader) time(name string, dst *time.Time) {
	o := r.holder(name)
	raw := o.take(name)
	s, err := textOf(o.at(name), raw)
	if err != nil {
		r.unread(o, name, raw, err)
		return
	}
	if s == "" {
		return
	}
	for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil && t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 {
			*dst = t.UTC()
			return
		}
	}
	r.data.put(name, raw)
}
