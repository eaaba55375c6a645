package messages_test

import (
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

func BenchmarkEnvelope(b *testing.B) {
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
	e := messages.Envelope{
		Kind: messages.KindEvent, EventID: messages.NewEventID(), CallID: "BC96D7B0D1800164898350B4E71B005C", Event: "speak_completed",
		Arrived: at, Deadline: at.Add(2500 * time.Millisecond), ReplyTo: "_INBOX.4kTUwjwBTW9HOpxKRxBMTs.dEnXXQmZ",
	}
	traced := e
	traced.Trace, traced.State = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "rojo=00f067aa0ba902b7"
	for _, tt := range []struct {
		name     string
		envelope messages.Envelope
	}{{"plain", e}, {"traced", traced}} {
		b.Run(tt.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := messages.ParseEnvelope(tt.envelope.Header(), nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkReply(b *testing.B) {
	r := messages.Reply{Verdict: messages.VerdictDecided, Flow: "survey", Step: "question-1", Action: []byte(`{}`)}
	b.ReportAllocs()
	for b.Loop() {
		if got := messages.ParseReply(r.Header(), r.Action); got.Verdict != r.Verdict {
			b.Fatalf("got %+v", got)
		}
	}
}
