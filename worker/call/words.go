package call

import (
	"strings"

	"github.com/offhook/offhook/messages/telesign"
)

// codeMark begins a word that a log has in a short form. A word of TeleSign's that
// begins with it gets another one in front.
const codeMark = "~"

// codes are the short forms, in logs, of the words that nearly every entry has: a
// million live calls carry them. They may be added to, never changed.
var codes = map[string]string{
	string(telesign.IncomingCall):     codeMark + "i",
	string(telesign.DialCompleted):    codeMark + "d",
	string(telesign.SpeakCompleted):   codeMark + "s",
	string(telesign.PlayCompleted):    codeMark + "p",
	string(telesign.CallLegCompleted): codeMark + "l",
	string(telesign.CallCompleted):    codeMark + "c",
	telesign.StatusAnswered:           codeMark + "A",
	telesign.StatusSpeakSuccessful:    codeMark + "S",
	telesign.StatusPlaySuccessful:     codeMark + "P",
}

var coded = func() map[string]string {
	m := make(map[string]string, len(codes))
	for word, code := range codes {
		m[code] = word
	}
	return m
}()

// shorten is word as logs have it.
func shorten(word string) string {
	if code, ok := codes[word]; ok {
		return code
	}
	if strings.HasPrefix(word, codeMark) {
		return codeMark + word
	}
	return word
}

// lengthen is the word that a log has as stored.
func lengthen(stored string) string {
	if word, ok := coded[stored]; ok {
		return word
	}
	if strings.HasPrefix(stored, codeMark+codeMark) {
		return stored[len(codeMark):]
	}
	return stored
}
