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
func ParseEvent(body []byte) (Event, error) {
	top, err := readObject("", body)
	if err != nil {
		return Event{}, err
	}
	name, err := required(top, "event")
	if err != nil {
		return Event{}, err
	}
	e := Event{Name: EventName(name)}
	if e.ReferenceID, err = required(top, "reference_id"); err != nil {
		return Event{}, err
	}
	data, err := top.child("data")
	if err != nil {
		return Event{}, err
	}
	r := eventReader{top: top, data: data, carry: !e.Name.Known()}
	r.read(top, "external_id", func(path string, raw json.RawMessage) (err error) {
		e.ExternalID, err = textOf(path, raw)
		return err
	})
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

func required(o object, name string) (string, error) {
	raw := o.take(name)
	s, err := textOf(o.at(name), raw)
	if err == nil && s == "" {
		err = messages.FieldErrorf(messages.CodeInvalid, o.at(name), "is missing: not a TeleSign event")
	}
	return s, err
}

// eventReader reads the members of one event and keeps the first error.
type eventReader struct {
	top, data object
	carry     bool // leave members of the wrong type where they are
	err       error
}

// read takes one member of o; into reads it.
func (r *eventReader) read(o object, name string, into func(path string, raw json.RawMessage) error) {
	raw := o.take(name)
	if raw == nil || r.err != nil {
		return
	}
	err := into(o.at(name), raw)
	if err != nil && r.carry {
		o.members[name] = raw
		return
	}
	r.err = err
}

// member reads one member of data, or of the top level if data has nothing there.
func (r *eventReader) member(name string, into func(path string, raw json.RawMessage) error) {
	if raw := r.data.members[name]; !absent(raw) && string(raw) != `""` {
		r.read(r.data, name, into)
		return
	}
	r.data.take(name)
	r.read(r.top, name, into)
}

func (r *eventReader) text(name string, dst *string) {
	r.member(name, func(path string, raw json.RawMessage) (err error) {
		*dst, err = textOf(path, raw)
		return err
	})
}

// keys reads digits, which are text even where they are written as a number.
func (r *eventReader) keys(name string, dst *string) {
	r.member(name, func(path string, raw json.RawMessage) (err error) {
		if kindOf(raw) == "a number" {
			*dst = string(raw)
			return nil
		}
		*dst, err = textOf(path, raw)
		return err
	})
}

// seconds drops fractions.
func (r *eventReader) seconds(name string, dst *int) {
	r.member(name, func(path string, raw json.RawMessage) error {
		n, ok, err := numberOf(path, raw)
		if err != nil {
			return err
		}
		if ok && (n < 0 || n > math.MaxInt32) {
			return messages.FieldErrorf(messages.CodeInvalid, path, "is %v, want seconds from 0", n)
		}
		*dst = int(n)
		return nil
	})
}

// time reads UTC times as TeleSign writes them, without a zone, and as others do.
func (r *eventReader) time(name string, dst *time.Time) {
	r.member(name, func(path string, raw json.RawMessage) error {
		s, err := textOf(path, raw)
		if err != nil {
			return err
		}
		for _, layout := range []string{"2006-01-02T15:04:05", time.RFC3339, "2006-01-02 15:04:05"} {
			if t, err := time.Parse(layout, s); err == nil && t.UTC().Year() >= 1970 && t.UTC().Year() <= 9999 {
				*dst = t.UTC()
				return nil
			}
		}
		if s != "" {
			r.data.members[name] = raw
		}
		return nil
	})
}
