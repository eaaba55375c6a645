package telesign

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/offhook/offhook/messages"
)

// Encode is the action as it is sent, after Validate:
//
//	{"jsonrpc":"2.0","method":"…","params":{…}}
//
// in this order, without a newline and without HTML escapes; the same action gives
// the same bytes. A nil action is {}, which asks for nothing.
func Encode(a Action) ([]byte, error) {
	if a == nil {
		return []byte("{}"), nil
	}
	if err := a.Validate(); err != nil {
		return nil, err
	}
	body, err := marshal(struct {
		Version string `json:"jsonrpc"`
		Method  Method `json:"method"`
		Params  any    `json:"params"`
	}{"2.0", a.Method(), a.params()})
	if err != nil {
		return nil, messages.Errorf(messages.CodeInternal, "encoding %s: %w", a.Method(), err)
	}
	return body, nil
}

func (d Dial) params() any {
	duration := ""
	if d.MaxCallDuration != 0 {
		duration = strconv.FormatInt(int64(d.MaxCallDuration/time.Second), 10)
	}
	return struct {
		To              string `json:"to"`
		CallerIDNumber  string `json:"caller_id_number"`
		MaxCallDuration string `json:"max_call_duration,omitempty"` // a string, by the documentation
		SendDTMF        string `json:"send_dtmf,omitempty"`
		ExternalID      string `json:"external_id,omitempty"`
		IsPrimary       *bool  `json:"is_primary,omitempty"`
	}{d.To, d.CallerIDNumber, duration, d.SendDTMF, d.ExternalID, d.IsPrimary}
}

func (s Speak) params() any {
	type tts struct {
		Message  string `json:"message"`
		Language string `json:"language,omitempty"`
	}
	return struct {
		TTS           tts            `json:"tts"`
		CollectDigits *CollectDigits `json:"collect_digits,omitempty"`
	}{tts{s.Message, s.Language}, s.CollectDigits}
}

func (p Play) params() any {
	return struct {
		URL           string         `json:"url"`
		CollectDigits *CollectDigits `json:"collect_digits,omitempty"`
	}{p.URL, p.CollectDigits}
}

func (p PlayMultiple) params() any {
	return struct {
		URLs          []string       `json:"urls"`
		CollectDigits *CollectDigits `json:"collect_digits,omitempty"`
	}{p.URLs, p.CollectDigits}
}

func (s SendDTMF) params() any {
	return struct {
		Digits string `json:"digits"`
	}{s.Digits}
}

func (Hangup) params() any { return struct{}{} }

// MarshalJSON is the collect_digits parameter, timers in whole milliseconds.
func (c CollectDigits) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Max               int    `json:"max"`
		Timeout           int64  `json:"timeout,omitempty"`
		InterDigitTimeout int64  `json:"inter_digit_timeout,omitempty"`
		Terminators       string `json:"terminators,omitempty"`
	}{c.Max, c.Timeout.Milliseconds(), c.InterDigitTimeout.Milliseconds(), c.Terminators})
}
