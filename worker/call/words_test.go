package call_test

import (
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/call"
)

// Whatever TeleSign calls its events and statuses, a log gives the words back; one
// written before there were short forms is read as it is.
func TestLogKeepsWords(t *testing.T) {
	t.Parallel()
	var log []call.Entry
	for _, word := range []string{"incoming_call", "dial_completed", "speak_completed", "play_completed", "call_leg_completed", "call_completed", "answered", "speak_successful", "play_successful", "busy", "s", "~s", "~~s", "~~", "~", "~new", ""} {
		log = append(log, call.Entry{ID: "E", Name: telesign.EventName(word)}, call.Entry{ID: "E", Status: word})
	}
	raw, err := call.EncodeLog(log)
	if err != nil {
		t.Fatal(err)
	}
	got, err := call.ParseLog(raw)
	if err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(log, got); diff != "" {
		t.Error(diff)
	}
	const now, before = `{"i":"E","t":0,"e":"~s","s":"~S"}`, `{"i":"E","t":0,"e":"speak_completed","s":"speak_successful"}`
	got, err = call.ParseLog([][]byte{[]byte(before)})
	if err != nil || got[0].Name != telesign.SpeakCompleted || got[0].Status != telesign.StatusSpeakSuccessful {
		t.Errorf("got %+v, error %v", got, err)
	}
	if raw, err = call.EncodeLog(got); err != nil || string(raw[0]) != now {
		t.Errorf("got %s, error %v; want %s", raw, err, now)
	}
}
