package telesign

import (
	"errors"
	"fmt"
	"strings"
)

// MaxNumberDigits is the longest phone number, country code included (ITU E.164).
const MaxNumberDigits = 15

// CheckNumber checks a phone number as TeleSign takes them: country code first, 1
// to 15 digits, nothing else. A number that has that form and still looks
// impossible gets a warning, no error: extensions and short codes exist. Neither
// text contains the number.
func CheckNumber(s string) (warning string, err error) {
	if s == "" {
		return "", errors.New("is empty, want 1 to 15 digits")
	}
	if strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) >= 0 {
		return "", errors.New("want digits only, country code first, without +, spaces or dashes")
	}
	if len(s) > MaxNumberDigits {
		return "", fmt.Errorf("has %d digits, want 1 to %d", len(s), MaxNumberDigits)
	}
	switch {
	case s[0] == '0':
		return "begins with 0, as no country code does: a prefix of the national or international form?", nil
	case len(s) < 8:
		return fmt.Sprintf("has only %d digits: a short code or an extension cannot be dialled from abroad", len(s)), nil
	case s[0] == '1' && len(s) != 11:
		return fmt.Sprintf("begins with 1, so it should have 11 digits; it has %d", len(s)), nil
	case s[0] == '1' && s[1] < '2':
		return fmt.Sprintf("begins with 1, but no area code begins with %c", s[1]), nil
	}
	return "", nil
}
