package telesign_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// oracleEncode is Encode by way of encoding/json.
func oracleEncode(a telesign.Action) ([]byte, error) {
	type collect struct {
		Max               int    `json:"max"`
		Timeout           int64  `json:"timeout,omitempty"`
		InterDigitTimeout int64  `json:"inter_digit_timeout,omitempty"`
		Terminators       string `json:"terminators,omitempty"`
	}
	collectOf := func(c *telesign.CollectDigits) *collect {
		if c == nil {
			return nil
		}
		return &collect{c.Max, c.Timeout.Milliseconds(), c.InterDigitTimeout.Milliseconds(), c.Terminators}
	}
	type tts struct {
		Message  string `json:"message"`
		Language string `json:"language,omitempty"`
	}
	var params any
	switch a := a.(type) {
	case nil:
		return []byte("{}"), nil
	case telesign.Dial:
		duration := ""
		if a.MaxCallDuration != 0 {
			duration = strconv.FormatInt(int64(a.MaxCallDuration/time.Second), 10)
		}
		params = struct {
			To              string `json:"to"`
			CallerIDNumber  string `json:"caller_id_number"`
			MaxCallDuration string `json:"max_call_duration,omitempty"`
			SendDTMF        string `json:"send_dtmf,omitempty"`
			ExternalID      string `json:"external_id,omitempty"`
			IsPrimary       *bool  `json:"is_primary,omitempty"`
		}{a.To, a.CallerIDNumber, duration, a.SendDTMF, a.ExternalID, a.IsPrimary}
	case telesign.Speak:
		params = struct {
			TTS           tts      `json:"tts"`
			CollectDigits *collect `json:"collect_digits,omitempty"`
		}{tts{a.Message, a.Language}, collectOf(a.CollectDigits)}
	case telesign.Play:
		params = struct {
			URL           string   `json:"url"`
			CollectDigits *collect `json:"collect_digits,omitempty"`
		}{a.URL, collectOf(a.CollectDigits)}
	case telesign.PlayMultiple:
		params = struct {
			URLs          []string `json:"urls"`
			CollectDigits *collect `json:"collect_digits,omitempty"`
		}{a.URLs, collectOf(a.CollectDigits)}
	case telesign.SendDTMF:
		params = struct {
			Digits string `json:"digits"`
		}{a.Digits}
	case telesign.Hangup:
		params = struct{}{}
	}
	return marshal(struct {
		Version string          `json:"jsonrpc"`
		Method  telesign.Method `json:"method"`
		Params  any             `json:"params"`
	}{"2.0", a.Method(), params})
}

// oracleParseEvent is ParseEvent by way of encoding/json, with all that it needs. It
// is not to be made faster: what it says is what ParseEvent has to say.
func oracleParseEvent(body []byte) (telesign.Event, error) {
	top, err := readObject("", body)
	if err != nil {
		return telesign.Event{}, err
	}
	name, err := required(top, "event")
	if err != nil {
		return telesign.Event{}, err
	}
	e := telesign.Event{Name: telesign.EventName(name)}
	if e.ReferenceID, err = required(top, "reference_id"); err != nil {
		return telesign.Event{}, err
	}
	data, err := top.child("data")
	if err != nil {
		return telesign.Event{}, err
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
		return telesign.Event{}, r.err
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

type eventReader struct {
	top, data object
	carry     bool // leave members of the wrong type where they are
	err       error
}

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

type object struct {
	path    string // where it stands in the message, "" at the top; for errors
	members map[string]json.RawMessage
}

func readObject(path string, raw []byte) (object, error) {
	o := object{path: path, members: make(map[string]json.RawMessage)}
	if path != "" && absent(raw) {
		return o, nil
	}
	if err := json.Unmarshal(raw, &o.members); err != nil {
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			return o, messages.Errorf(messages.CodeInvalid, "the body is not JSON, at byte %d: %w", syntax.Offset, err)
		}
		return o, wrongType(path, raw, "an object")
	}
	if o.members == nil { // null
		return o, wrongType(path, raw, "an object")
	}
	return o, nil
}

func (o object) at(name string) string {
	if o.path == "" {
		return name
	}
	return o.path + "." + name
}

func (o object) take(name string) json.RawMessage {
	raw := o.members[name]
	delete(o.members, name)
	if absent(raw) {
		return nil
	}
	return raw
}

func (o object) child(name string) (object, error) { return readObject(o.at(name), o.take(name)) }

func (o object) rest() map[string]json.RawMessage {
	if len(o.members) == 0 {
		return nil
	}
	return o.members
}

func textOf(path string, raw json.RawMessage) (string, error) {
	if absent(raw) {
		return "", nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", wrongType(path, raw, "a string")
	}
	return s, nil
}

func numberOf(path string, raw json.RawMessage) (n float64, ok bool, err error) {
	if absent(raw) {
		return 0, false, nil
	}
	literal := raw
	if kindOf(raw) == "a string" {
		s, err := textOf(path, raw)
		if err != nil || s == "" {
			return 0, false, err
		}
		literal = json.RawMessage(s)
	}
	if kindOf(literal) != "a number" || !json.Valid(literal) {
		return 0, false, wrongType(path, raw, "a number")
	}
	if n, err = strconv.ParseFloat(string(bytes.TrimSpace(literal)), 64); err != nil {
		return 0, false, messages.FieldErrorf(messages.CodeInvalid, path, "is a number out of range")
	}
	return n, true, nil
}

func absent(raw []byte) bool {
	return len(raw) == 0 || string(raw) == "null"
}

func kindOf(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch c := raw[0]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	}
	return "not JSON"
}

func wrongType(path string, raw []byte, want string) error {
	if path == "" {
		return messages.Errorf(messages.CodeInvalid, "the body is %s, want %s", kindOf(raw), want)
	}
	return messages.FieldErrorf(messages.CodeInvalid, path, "is %s, want %s", kindOf(raw), want)
}

func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
