package telesign

import (
	"bytes"
	"encoding/json"
	"math"
	"time"

	"github.com/offhook/offhook/messages"
)

// ParseAction reads an action as TeleSign is seen to take them: an object or an
// array of one; jsonrpc, id, params and unknown members may be there or not;
// numbers may be strings; null is as good as missing. A body that asks for nothing
// (empty, {}, [] or [{}]) is a nil action.
//
// It does not judge values: missing parameters are zero, Validate tells. An error
// is a *messages.Error of CodeInvalid; its Field names the member that could not
// be read.
func ParseAction(body []byte) (Action, error) {
	body = bytes.TrimSpace(body)
	if len(body) == 0 {
		return nil, nil
	}
	if kindOf(body) == "an array" {
		var several []json.RawMessage
		if err := json.Unmarshal(body, &several); err != nil {
			return nil, messages.Errorf(messages.CodeInvalid, "the body is not JSON: %w", err)
		}
		if len(several) > 1 {
			return nil, messages.Errorf(messages.CodeInvalid, "%d actions in one answer, want one", len(several))
		}
		if len(several) == 0 {
			return nil, nil
		}
		body = several[0]
	}
	top, err := readObject("", body)
	if err != nil {
		return nil, err
	}
	if len(top.members) == 0 {
		return nil, nil
	}
	method, err := top.text("method")
	if err != nil {
		return nil, err
	}
	params, err := top.child("params")
	if err != nil {
		return nil, err
	}
	r := paramReader{object: params}
	a, err := r.action(Method(method))
	if err != nil {
		return nil, err
	}
	if r.err != nil {
		return nil, r.err
	}
	return a, nil
}

// paramReader reads the parameters of one action and keeps the first error.
type paramReader struct {
	object
	err error
}

func (r *paramReader) action(method Method) (Action, error) {
	switch method {
	case MethodDial:
		return Dial{
			To:              r.text("to"),
			CallerIDNumber:  r.text("caller_id_number"),
			MaxCallDuration: r.duration("max_call_duration", time.Second),
			SendDTMF:        r.text("send_dtmf"),
			ExternalID:      r.text("external_id"),
			IsPrimary:       r.boolean("is_primary"),
		}, nil
	case MethodSpeak:
		tts := r.inside("tts")
		a := Speak{Message: tts.text("message"), Language: tts.text("language"), CollectDigits: r.collectDigits()}
		r.fail(tts.err)
		return a, nil
	case MethodPlay:
		return Play{URL: r.text("url"), CollectDigits: r.collectDigits()}, nil
	case MethodPlayMultiple:
		return PlayMultiple{URLs: r.texts("urls"), CollectDigits: r.collectDigits()}, nil
	case MethodSendDTMF:
		return SendDTMF{Digits: r.text("digits")}, nil
	case MethodHangup:
		return Hangup{}, nil
	case "":
		return nil, messages.FieldErrorf(messages.CodeInvalid, "method", "is missing: not an action")
	}
	return nil, messages.FieldErrorf(messages.CodeInvalid, "method", "%.40q is no action of TeleSign's", string(method))
}

func (r *paramReader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

func (r *paramReader) inside(name string) *paramReader {
	o, err := r.child(name)
	r.fail(err)
	return &paramReader{object: o}
}

func (r *paramReader) collectDigits() *CollectDigits {
	if absent(r.peek("collect_digits")) {
		return nil
	}
	in := r.inside("collect_digits")
	c := &CollectDigits{
		Max:               int(in.whole("max")),
		Timeout:           in.duration("timeout", time.Millisecond),
		InterDigitTimeout: in.duration("inter_digit_timeout", time.Millisecond),
		Terminators:       in.text("terminators"),
	}
	r.fail(in.err)
	return c
}

func (r *paramReader) text(name string) string {
	s, err := r.object.text(name)
	r.fail(err)
	return s
}

func (r *paramReader) texts(name string) []string {
	var list []string
	raw := r.take(name)
	if raw == nil {
		return nil
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		r.fail(wrongType(r.at(name).String(), raw, "an array of strings"))
	}
	return list
}

func (r *paramReader) boolean(name string) *bool {
	raw := r.take(name)
	if raw == nil {
		return nil
	}
	var b bool
	if err := json.Unmarshal(raw, &b); err != nil {
		r.fail(wrongType(r.at(name).String(), raw, "a boolean"))
	}
	return &b
}

// whole reads a whole number that a time.Duration can hold in seconds.
func (r *paramReader) whole(name string) int64 {
	n, _, err := numberOf(r.at(name), r.take(name))
	r.fail(err)
	if n != math.Trunc(n) || math.Abs(n) > math.MaxInt32 {
		r.fail(messages.FieldErrorf(messages.CodeInvalid, r.at(name).String(), "is %v, want a whole number below 2^31", n))
		return 0
	}
	return int64(n)
}

func (r *paramReader) duration(name string, unit time.Duration) time.Duration {
	return time.Duration(r.whole(name)) * unit
}
