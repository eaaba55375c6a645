package telesign

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/messages"
)

// The keys that can be sent, and those that can end an entry.
const (
	keysTerminating = "0123456789ABCD*#"
	keysSendable    = keysTerminating + "w"
)

// Validate checks both numbers, the duration, the keys and the external id.
func (d Dial) Validate() error {
	if err := checkNumber("to", d.To); err != nil {
		return err
	}
	if err := checkNumber("caller_id_number", d.CallerIDNumber); err != nil {
		return err
	}
	switch m := d.MaxCallDuration; {
	case m < 0 || m > MaxCallDuration:
		return invalid("max_call_duration", "is %v, want at most %v", m, MaxCallDuration)
	case m%time.Second != 0:
		return invalid("max_call_duration", "is %v, want whole seconds", m)
	}
	if d.SendDTMF != "" {
		if err := checkKeys("send_dtmf", d.SendDTMF, keysSendable); err != nil {
			return err
		}
	}
	if len(d.ExternalID) > MaxExternalID {
		return invalid("external_id", "has %d bytes, want at most %d", len(d.ExternalID), MaxExternalID)
	}
	if strings.IndexFunc(d.ExternalID, notPrintable) >= 0 {
		return invalid("external_id", "has characters that are not printable ASCII")
	}
	return nil
}

// Validate checks message, language and collect_digits.
func (s Speak) Validate() error {
	if strings.TrimSpace(s.Message) == "" {
		return invalid("tts.message", "is empty")
	}
	if err := ValidateSSML(s.Message); err != nil {
		return err
	}
	if s.Language != "" && !isLanguageTag(s.Language) {
		return invalid("tts.language", "is %.40q, want a tag such as en-US", s.Language)
	}
	return s.CollectDigits.Validate()
}

// Validate checks the URL and collect_digits.
func (p Play) Validate() error {
	if err := checkURL("url", p.URL); err != nil {
		return err
	}
	return p.CollectDigits.Validate()
}

// Validate checks every URL and collect_digits.
func (p PlayMultiple) Validate() error {
	if len(p.URLs) == 0 {
		return invalid("urls", "is empty, want at least one audio file")
	}
	for _, u := range p.URLs {
		if err := checkURL("urls", u); err != nil {
			return err
		}
	}
	return p.CollectDigits.Validate()
}

// Validate checks the keys.
func (s SendDTMF) Validate() error { return checkKeys("digits", s.Digits, keysSendable) }

// Validate finds nothing wrong.
func (Hangup) Validate() error { return nil }

// Validate checks the bounds; nil, which collects nothing, is fine.
func (c *CollectDigits) Validate() error {
	if c == nil {
		return nil
	}
	if c.Max < 1 || c.Max > MaxCollectDigits {
		return invalid("collect_digits.max", "is %d, want 1 to %d", c.Max, MaxCollectDigits)
	}
	if err := checkTimer("collect_digits.timeout", c.Timeout); err != nil {
		return err
	}
	if err := checkTimer("collect_digits.inter_digit_timeout", c.InterDigitTimeout); err != nil {
		return err
	}
	if c.Terminators == "" {
		return nil
	}
	return checkKeys("collect_digits.terminators", c.Terminators, keysTerminating)
}

func checkNumber(field, s string) error {
	if s == "" {
		return invalid(field, "is missing, want a number with country code, digits only")
	}
	if _, err := CheckNumber(s); err != nil {
		return invalid(field, "%w", err)
	}
	return nil
}

func checkTimer(field string, d time.Duration) error {
	if d < 0 || d > MaxCallDuration {
		return invalid(field, "is %v, want at most %v", d, MaxCallDuration)
	}
	if d%time.Millisecond != 0 {
		return invalid(field, "is %v, want whole milliseconds", d)
	}
	return nil
}

func checkKeys(field, keys, alphabet string) error {
	if keys == "" {
		return invalid(field, "is empty, want keys out of %s", alphabet)
	}
	if i := strings.IndexFunc(keys, func(r rune) bool { return !strings.ContainsRune(alphabet, r) }); i >= 0 {
		return invalid(field, "character %d is not one of %s", utf8.RuneCountInString(keys[:i])+1, alphabet)
	}
	return nil
}

func checkURL(field, s string) error {
	if s == "" {
		return invalid(field, "is missing, want the http or https address of an audio file")
	}
	if strings.IndexFunc(s, func(r rune) bool { return r == ' ' || notPrintable(r) }) >= 0 {
		return invalid(field, "has spaces, control or non-ASCII characters; write them percent-encoded")
	}
	u, err := url.Parse(s)
	if err != nil {
		return invalid(field, "is not a URL: %w", err)
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		return invalid(field, "has scheme %.20q, want http or https", u.Scheme)
	}
	if u.Hostname() == "" {
		return invalid(field, "names no host")
	}
	return nil
}

// isLanguageTag reports whether s is letters, then groups of letters and digits
// after dashes. Which tags TeleSign speaks is not documented for this API.
func isLanguageTag(s string) bool {
	first := true
	for part := range strings.SplitSeq(s, "-") {
		if len(part) < 2 || len(part) > 8 || first && len(part) > 3 {
			return false
		}
		for _, r := range part {
			letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
			if !letter && (first || r < '0' || r > '9') {
				return false
			}
		}
		first = false
	}
	return true
}

func notPrintable(r rune) bool { return r < ' ' || r > '~' }

func invalid(field, format string, args ...any) error {
	return messages.FieldErrorf(messages.CodeInvalid, field, format, args...)
}
