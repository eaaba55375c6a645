package telesign

import "strings"

// Break is the only pause that TeleSign documents for SSML. How long it lasts is not
// documented; about a second is assumed.
const Break = `<break strength="strong"/>`

// WithBreaks is a message for speak with n of Break at its end. Plain text becomes
// SSML for that; SSML that says nothing (<speak/>) stays as it is.
func WithBreaks(message string, n int) string {
	if n <= 0 {
		return message
	}
	pause := strings.Repeat(Break, n)
	if !isSSML(message) {
		return "<speak>" + EscapeSSML(message) + pause + "</speak>"
	}
	end := strings.LastIndex(message, "</speak")
	if end < 0 {
		return message
	}
	return message[:end] + pause + message[end:]
}
