package bench

import (
	"bytes"
	"time"

	"github.com/offhook/offhook/ingress/webhook"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// The account of a run. The key is nobody's.
const (
	customerID = "FFFFFFFF-EEEE-DDDD-1234-AB1234567890"
	apiKey     = "ABC12345yusumoN6BYsBVkh+yRJ5czgsnCehZaOYldPJdmFh6NeX8kunZ2zU1YWaUw/0wV6xfw==" //nolint:gosec // of TeleSign's documentation
)

// fixedAnswer is what the rows without logic answer every event with; as long as
// an answer of the survey.
var fixedAnswer = []byte(`{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"How was your visit, from 1, very bad, to 5, very good?","language":"en-US"},"collect_digits":{"max":1,"timeout":10000,"inter_digit_timeout":3000}}}`)

// exchange is one event of a call and the method that the survey answers it with;
// none is {}.
type exchange struct {
	event telesign.Event
	want  telesign.Method
}

// survey is a call through the example survey by somebody who answers everything.
// It has no external_id: offhook takes it for a call that it did not place.
func survey() []exchange {
	const said, played = telesign.StatusSpeakSuccessful, telesign.StatusPlaySuccessful
	created := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	all := []exchange{
		{telesign.Event{Name: telesign.DialCompleted, Status: telesign.StatusAnswered}, telesign.MethodSpeak},
		{telesign.Event{Name: telesign.SpeakCompleted, Status: said, Digits: "1"}, telesign.MethodPlay},
		{telesign.Event{Name: telesign.PlayCompleted, Status: played, Digits: "3"}, telesign.MethodPlay},
		{telesign.Event{Name: telesign.PlayCompleted, Status: played, Digits: "2"}, telesign.MethodSpeak},
		{telesign.Event{Name: telesign.SpeakCompleted, Status: said, Digits: "1"}, telesign.MethodSpeak},
		{telesign.Event{Name: telesign.SpeakCompleted, Status: said}, telesign.MethodHangup},
		{telesign.Event{
			Name: telesign.CallCompleted, Status: "hangup", Direction: "outbound", Duration: 41,
			CreatedOn: created, AnsweredOn: created.Add(9 * time.Second), EndedOn: created.Add(50 * time.Second),
		}, ""},
	}
	for i := range all {
		all[i].event.ReferenceID = placeholder
		all[i].event.To, all[i].event.From = "15558675309", "15555551212"
	}
	return all
}

// placeholder stands for the reference_id, which has this length.
const placeholder = "00000000000000000000000000000000"

// template is an event whose reference_id is still to be written.
type template struct {
	body  []byte
	at    int // of the reference_id
	event telesign.EventName
	want  telesign.Method
}

func templates() ([]template, error) {
	var all []template
	for _, e := range survey() {
		body, err := e.event.Encode()
		if err != nil {
			return nil, err
		}
		at := bytes.Index(body, []byte(placeholder))
		if at < 0 {
			return nil, messages.Errorf(messages.CodeInternal, "the event %s carries no reference_id", e.event.Name)
		}
		all = append(all, template{body, at, e.event.Name, e.want})
	}
	return all, nil
}

// write puts the event of one call into dst, which it overwrites.
func (t template) write(dst []byte, referenceID []byte) []byte {
	dst = append(dst[:0], t.body...)
	copy(dst[t.at:], referenceID)
	return dst
}

const webhookPath = webhook.Path
