package telesign_test

import (
	"testing"

	"github.com/offhook/offhook/messages/telesign"
)

// The matrix of both tables, written out: L lenient only, * both.
func TestAnswerTables(t *testing.T) {
	t.Parallel()
	methods := []telesign.Method{
		telesign.MethodDial, telesign.MethodSpeak, telesign.MethodPlay,
		telesign.MethodPlayMultiple, telesign.MethodSendDTMF, telesign.MethodHangup,
	}
	matrix := map[telesign.EventName]string{
		telesign.IncomingCall:     "****-*",
		telesign.DialCompleted:    "L*****",
		telesign.SpeakCompleted:   "L*****",
		telesign.PlayCompleted:    "L*****",
		telesign.CallLegCompleted: "L*****",
		telesign.CallCompleted:    "------",
		"send_dtmf_completed":     "L*****",
		"ringing":                 "------",
		"":                        "------",
	}
	for event, row := range matrix {
		for i, m := range methods {
			if got, want := telesign.Lenient.Allows(event, m), row[i] != '-'; got != want {
				t.Errorf("lenient: %s answers %q: %v, want %v", m, event, got, want)
			}
			if got, want := telesign.Strict.Allows(event, m), row[i] == '*'; got != want {
				t.Errorf("strict: %s answers %q: %v, want %v", m, event, got, want)
			}
		}
		if telesign.Lenient.Allows(event, "record") {
			t.Errorf("an unknown action answers %q", event)
		}
	}
	if zero := telesign.AnswerTable(0); zero != telesign.Lenient {
		t.Errorf("the zero table is %v", zero)
	}
}
