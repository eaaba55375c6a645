package telesign_test

import (
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// contractEvents are the six events as CONTRACT.md has them, the last to the byte.
var contractEvents = []struct{ name, body string }{
	{"incoming_call", `{"event":"incoming_call","reference_id":"534e1848-235f-482d-983d-e3e11a04f58a","data":{"to":"15558675309","from":"15555551212"}}`},
	{"dial_completed", `{"event":"dial_completed","reference_id":"BC96D7B0D1800164898350B4E71B005C","external_id":"4142b474-d65d-4265-a5fa-a581b1fe6101","data":{"to":"15558675309","from":"15555551212","status":"answered"}}`},
	{"speak_completed", `{"event":"speak_completed","reference_id":"BC96D7B0D1800164898350B4E71B005C","data":{"to":"15558675309","from":"15555551212","status":"speak_successful","collected_digits":"1"}}`},
	{"play_completed", `{"event":"play_completed","reference_id":"BC96D7B0D1800164898350B4E71B005C","data":{"to":"15558675309","from":"15555551212","status":"play_successful","collected_digits":"007"}}`},
	{"call_leg_completed", `{"event":"call_leg_completed","reference_id":"BC96D7B0D1800164898350B4E71B005C","data":{"duration":4,"created_on_utc":"2019-03-15T06:48:22.151","answered_on_utc":"2019-03-15T06:48:24.151","ended_on_utc":"2019-03-15T06:48:26.151","to":"15554441313","from":"15555551212","direction":"outbound"}}`},
	{"call_completed", `{"reference_id":"C58C8EB012D","event":"call_completed","data":{"duration":6,"created_on_utc":"2019-03-15T06:48:22.151","answered_on_utc":"2019-03-15T06:48:24.151","ended_on_utc":"2019-03-15T06:48:28.151","status":"hangup","audio_recording_file_name":null,"to":"DESTINATION_NUMBER","from":"VIRTUAL_NUMBER","direction":"outbound"}}`},
}

func BenchmarkParseEvent(b *testing.B) {
	for _, e := range contractEvents {
		b.Run(e.name, func(b *testing.B) {
			body := []byte(e.body)
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if _, err := telesign.ParseEvent(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	for _, a := range []struct {
		name   string
		action telesign.Action
	}{
		{"nothing", nil},
		{"hangup", telesign.Hangup{}},
		{"speak", telesign.Speak{
			Message: "Press 1 for Customer Service. Press 2 for account department.", Language: "en-US",
			CollectDigits: &telesign.CollectDigits{Max: 1, Timeout: 10 * time.Second},
		}},
		{"speak_ssml", telesign.Speak{Message: `<speak>Press 1 for sales.<break strength="medium"/></speak>`, Language: "en-US"}},
		{"play", goldenActions["play"]},
		{"dial", goldenActions["dial"]},
	} {
		b.Run(a.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := telesign.Encode(a.action); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Both headers, as TeleSign sends them; with one key, and while a key is rotated.
func BenchmarkVerify(b *testing.B) {
	body := golden(b, "events", "incoming_call.json")
	for _, keys := range []struct {
		name string
		keys []string
	}{{"one_key", []string{key}}, {"two_keys", []string{sdkKey, key}}} {
		b.Run(keys.name, func(b *testing.B) {
			v, err := telesign.NewVerifier(customerID, keys.keys...)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if err := v.Verify("TSA "+customerID+":"+signature, signature, body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
