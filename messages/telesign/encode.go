package telesign

import (
	"strconv"
	"time"
	"unicode/utf8"
)

// Encode is the action as it is sent, after Validate:
//
//	{"jsonrpc":"2.0","method":"…","params":{…}}
//
// in this order, without a newline and without HTML escapes; the same action gives
// the same bytes. A nil action is {}, which asks for nothing. The bytes are the
// caller's.
func Encode(a Action) ([]byte, error) {
	if a == nil {
		return []byte("{}"), nil
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	if a.Method() == MethodHangup {
		return []byte(`{"jsonrpc":"2.0","method":"hangup","params":{}}`), nil
	}
	dst := make([]byte, 0, 256) // all of an action but its message or URLs fits
	dst = append(dst, `{"jsonrpc":"2.0","method":"`...)
	dst = append(dst, a.Method()...)
	dst = append(dst, `","params":{`...)
	dst = a.appendParams(dst)
	return append(dst, "}}"...), nil
}

func (d Dial) appendParams(dst []byte) []byte {
	dst = appendString(append(dst, `"to":`...), d.To)
	dst = appendString(append(dst, `,"caller_id_number":`...), d.CallerIDNumber)
	if d.MaxCallDuration != 0 { // a string, by the documentation
		dst = append(dst, `,"max_call_duration":"`...)
		dst = strconv.AppendInt(dst, int64(d.MaxCallDuration/time.Second), 10)
		dst = append(dst, '"')
	}
	if d.SendDTMF != "" {
		dst = appendString(append(dst, `,"send_dtmf":`...), d.SendDTMF)
	}
	if d.ExternalID != "" {
		dst = appendString(append(dst, `,"external_id":`...), d.ExternalID)
	}
	if d.IsPrimary != nil {
		dst = strconv.AppendBool(append(dst, `,"is_primary":`...), *d.IsPrimary)
	}
	return dst
}

func (s Speak) appendParams(dst []byte) []byte {
	dst = appendString(append(dst, `"tts":{"message":`...), s.Message)
	if s.Language != "" {
		dst = appendString(append(dst, `,"language":`...), s.Language)
	}
	return s.CollectDigits.appendParam(append(dst, '}'))
}

func (p Play) appendParams(dst []byte) []byte {
	dst = appendString(append(dst, `"url":`...), p.URL)
	return p.CollectDigits.appendParam(dst)
}

func (p PlayMultiple) appendParams(dst []byte) []byte {
	dst = append(dst, `"urls":`...)
	separator := byte('[')
	for _, u := range p.URLs { // one at least
		dst = appendString(append(dst, separator), u)
		separator = ','
	}
	return p.CollectDigits.appendParam(append(dst, ']'))
}

func (s SendDTMF) appendParams(dst []byte) []byte {
	return appendString(append(dst, `"digits":`...), s.Digits)
}

func (Hangup) appendParams(dst []byte) []byte { return dst }

// appendParam writes collect_digits behind another parameter; nil writes nothing.
func (c *CollectDigits) appendParam(dst []byte) []byte {
	if c == nil {
		return dst
	}
	return c.appendObject(append(dst, `,"collect_digits":`...))
}

func (c CollectDigits) appendObject(dst []byte) []byte {
	dst = strconv.AppendInt(append(dst, `{"max":`...), int64(c.Max), 10)
	if ms := c.Timeout.Milliseconds(); ms != 0 {
		dst = strconv.AppendInt(append(dst, `,"timeout":`...), ms, 10)
	}
	if ms := c.InterDigitTimeout.Milliseconds(); ms != 0 {
		dst = strconv.AppendInt(append(dst, `,"inter_digit_timeout":`...), ms, 10)
	}
	if c.Terminators != "" {
		dst = appendString(append(dst, `,"terminators":`...), c.Terminators)
	}
	return append(dst, '}')
}

// MarshalJSON is the collect_digits parameter, timers in whole milliseconds.
func (c CollectDigits) MarshalJSON() ([]byte, error) { return c.appendObject(nil), nil }

// appendString writes s as encoding/json does without HTML escapes. It leaves what
// is rare to it: control characters, broken UTF-8, and the line separators that
// JavaScript takes for line ends.
func appendString(dst []byte, s string) []byte {
	start := len(dst)
	dst = append(dst, '"')
	written := 0
	for i, r := range s {
		switch {
		case r == '"' || r == '\\':
			dst = append(dst, s[written:i]...)
			dst = append(dst, '\\')
			written = i
		case r < ' ' || r == utf8.RuneError || r == '\u2028' || r == '\u2029':
			plain, _ := marshal(s) // of a string, this cannot fail
			return append(dst[:start], plain...)
		}
	}
	dst = append(dst, s[written:]...)
	return append(dst, '"')
}
