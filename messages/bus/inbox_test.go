package bus

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/offhook/offhook/messages"
)

// What is taken for a plain PubAck is one for the JSON decoder too: the short way says
// nothing that the long one does not.
func FuzzPlainPubAck(f *testing.F) {
	for _, ack := range []string{
		`{"stream":"OFFHOOK_EVENTS","seq":1}`,
		`{"stream":"OFFHOOK_EVENTS", "seq":1}`,
		`{"stream":"OFFHOOK_EVENTS", "seq":18446744073709551615}`,
		`{"stream":"OFFHOOK_EVENTS", "domain":"hub", "seq":7}`,
		`{"stream":"OFFHOOK_EVENTS", "seq":7,"duplicate": true}`,
		`{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"},"stream":"S","seq":0}`,
		`{"stream":"", "seq":1}`,
		`{"stream":"S", "seq":01}`,
		`{"stream":"S", "seq":}`,
		`{"stream":"S", "seq":1`,
		`{"stream":"S", "seq":1} `,
		`{"stream":"S\u0000", "seq":1}`,
		"{\"stream\":\"S\n\", \"seq\":1}",
		``,
	} {
		f.Add([]byte(ack))
	}
	f.Fuzz(func(t *testing.T, ack []byte) {
		if !plainPubAck(ack) {
			return
		}
		var read struct {
			Error  any             `json:"error"`
			Stream string          `json:"stream"`
			Seq    json.RawMessage `json:"seq"`
		}
		if err := json.Unmarshal(ack, &read); err != nil || read.Error != nil || read.Stream == "" {
			t.Errorf("%q is taken for plain; it reads as %+v, %v", ack, read, err)
		}
	})
}

func TestAPubAckIsReadInEveryForm(t *testing.T) {
	t.Parallel()
	for ack, want := range map[string]struct {
		plain bool
		err   string // part of it; empty: none
	}{
		`{"stream":"OFFHOOK_EVENTS", "seq":1}`:                                         {plain: true},
		`{"stream":"OFFHOOK_EVENTS","seq":12345678901}`:                                {plain: true},
		`{"stream":"OFFHOOK_EVENTS","domain":"hub","seq":7}`:                           {},
		`{"stream":"OFFHOOK_EVENTS", "seq":7,"duplicate": true}`:                       {},
		`{"error":{"code":503,"err_code":10077,"description":"full"},"stream":"S"}`:    {err: "full"},
		`{"stream":"S", "seq":0, "error":{"code":503,"err_code":1,"description":"x"}}`: {err: "x"},
		`{"seq":1}`:                         {err: "no stream"},
		`{"stream":"", "seq":1}`:            {err: "no stream"},
		`{"stream":"S", "seq":1`:            {err: "unreadable"},
		`{"stream":"S", "seq":1}{`:          {err: "unreadable"},
		`{"stream":"S\", "seq":1}`:          {err: "unreadable"},
		"{\"stream\":\"S\x01\", \"seq\":1}": {err: "unreadable"},
	} {
		if got := plainPubAck([]byte(ack)); got != want.plain {
			t.Errorf("%s: plain is %t", ack, got)
		}
		err := parsePubAck(&nats.Msg{Data: []byte(ack)})
		if (err == nil) != (want.err == "") || err != nil && !strings.Contains(err.Error(), want.err) {
			t.Errorf("%s: got %v, want %q", ack, err, want.err)
		}
	}
}

// The form that a server of today gives is the plain one, or nothing is gained.
func TestTheServersPubAckIsPlain(t *testing.T) {
	t.Parallel()
	b := connect(t, startServer(t))
	e := event("c")
	ack, err := b.nc.RequestMsgWithContext(within(t, patience), &nats.Msg{Subject: messages.EventSubject("c"), Header: e.Header(), Data: e.Body})
	if err != nil {
		t.Fatal(err)
	}
	if !plainPubAck(ack.Data) {
		t.Errorf("got %q", ack.Data)
	}
}
