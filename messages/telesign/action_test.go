package telesign_test

import (
	"bytes"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// goldenActions is what each file of testdata/actions says.
var goldenActions = map[string]telesign.Action{
	"dial": telesign.Dial{
		To: "15555551212", CallerIDNumber: "15554441313", MaxCallDuration: 10 * time.Minute,
		SendDTMF: "ww6458#", ExternalID: "4142b474-d65d-4265-a5fa-a581b1fe6101", IsPrimary: new(true),
	},
	"speak": telesign.Speak{
		Message:  `<speak>Press 1 for sales &amp; service.<break strength="medium"/></speak>`,
		Language: "en-US", CollectDigits: &telesign.CollectDigits{Max: 1},
	},
	"play": telesign.Play{
		URL: "https://url-pointing-to-audio-file.com",
		CollectDigits: &telesign.CollectDigits{
			Max: 5, Timeout: 10 * time.Second, InterDigitTimeout: 3 * time.Second, Terminators: "#",
		},
	},
	"play_multiple": telesign.PlayMultiple{
		URLs: []string{"https://audio.example.com/a.wav", "http://audio.example.com/b.wav?x=1&y=2"},
	},
	"send_dtmf": telesign.SendDTMF{Digits: "0123456789ABCD*#w"},
	"hangup":    telesign.Hangup{},
}

func TestActionsGolden(t *testing.T) {
	t.Parallel()
	for name, want := range goldenActions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := golden(t, "actions", name+".json")
			encoded, err := telesign.Encode(want)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(encoded, body) {
				t.Errorf("encoded:\n got %s\nwant %s", encoded, body)
			}
			got, err := telesign.ParseAction(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
			if got := want.Method(); string(got) != name {
				t.Errorf("method %q, want %q", got, name)
			}
		})
	}
}

// The answer of TeleSign's page about playing and collecting digits, to the byte.
func TestEncodePlayAndCollect(t *testing.T) {
	t.Parallel()
	const want = `{"jsonrpc":"2.0","method":"play","params":{"url":"https://url-pointing-to-audio-file.com","collect_digits":{"max":5,"timeout":10000,"inter_digit_timeout":3000,"terminators":"#"}}}`
	got, err := telesign.Encode(telesign.Play{
		URL:           "https://url-pointing-to-audio-file.com",
		CollectDigits: &telesign.CollectDigits{Max: 5, Timeout: 10 * time.Second, InterDigitTimeout: 3 * time.Second, Terminators: "#"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestEncodeLeavesOutWhatIsNotSet(t *testing.T) {
	t.Parallel()
	tests := []struct {
		action telesign.Action
		want   string
	}{
		{nil, `{}`},
		{telesign.Dial{To: "1", CallerIDNumber: "2"}, `{"jsonrpc":"2.0","method":"dial","params":{"to":"1","caller_id_number":"2"}}`},
		{
			telesign.Dial{To: "1", CallerIDNumber: "2", IsPrimary: new(false)},
			`{"jsonrpc":"2.0","method":"dial","params":{"to":"1","caller_id_number":"2","is_primary":false}}`,
		},
		{telesign.Speak{Message: "5 < 6 & 7 > 6"}, `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"5 < 6 & 7 > 6"}}}`},
		{&telesign.Hangup{}, `{"jsonrpc":"2.0","method":"hangup","params":{}}`},
	}
	for _, tt := range tests {
		got, err := telesign.Encode(tt.action)
		if err != nil || string(got) != tt.want {
			t.Errorf("%#v: got %s, %v; want %s", tt.action, got, err, tt.want)
		}
	}
}

func TestParseActionLiberal(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		want       telesign.Action
	}{
		{"empty", ``, nil},
		{"white space", " \n", nil},
		{"empty object", `{}`, nil},
		{"array of an empty object", `[{}]`, nil},
		{"empty array", `[]`, nil},
		{"array of one", `[{"method":"hangup","params":{}}]`, telesign.Hangup{}},
		{"without params", `{"method":"hangup"}`, telesign.Hangup{}},
		{"null params", `{"method":"hangup","params":null}`, telesign.Hangup{}},
		{"id and unknown members", `{"json_rpc":"2.0","id":"1","method":"hangup","params":{"x":1}}`, telesign.Hangup{}},
		{
			"null language, max a string", `{"method":"speak","params":{"tts":{"message":"Hi","language":null},"collect_digits":{"max":"1"}}}`,
			telesign.Speak{Message: "Hi", CollectDigits: &telesign.CollectDigits{Max: 1}},
		},
		{
			"timers as strings", `{"method":"play","params":{"url":"u","collect_digits":{"max":2,"timeout":"10000","inter_digit_timeout":"3000","terminators":"*"}}}`,
			telesign.Play{URL: "u", CollectDigits: &telesign.CollectDigits{Max: 2, Timeout: 10 * time.Second, InterDigitTimeout: 3 * time.Second, Terminators: "*"}},
		},
		{"null collect_digits", `{"method":"play","params":{"url":"u","collect_digits":null}}`, telesign.Play{URL: "u"}},
		{"empty collect_digits", `{"method":"play","params":{"url":"u","collect_digits":{}}}`, telesign.Play{URL: "u", CollectDigits: &telesign.CollectDigits{}}},
		{"max_call_duration a number", `{"method":"dial","params":{"max_call_duration":600}}`, telesign.Dial{MaxCallDuration: 10 * time.Minute}},
		{"missing parameters", `{"method":"play_multiple"}`, telesign.PlayMultiple{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := telesign.ParseAction([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseActionRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, field string }{
		{"text", `Unknown Code Path`, ""},
		{"null", `null`, ""},
		{"string", `"hangup"`, ""},
		{"two actions", `[{"method":"hangup"},{"method":"hangup"}]`, ""},
		{"array of arrays", `[[{"method":"hangup"}]]`, ""},
		{"cut off array", `[{"method":"hangup"}`, ""},
		{"no method", `{"jsonrpc":"2.0"}`, "method"},
		{"unknown method", `{"method":"record"}`, "method"},
		{"method a number", `{"method":1}`, "method"},
		{"params an array", `{"method":"hangup","params":[]}`, "params"},
		{"to a number", `{"method":"dial","params":{"to":15555551212}}`, "params.to"},
		{"is_primary a string", `{"method":"dial","params":{"is_primary":"true"}}`, "params.is_primary"},
		{"duration a word", `{"method":"dial","params":{"max_call_duration":"long"}}`, "params.max_call_duration"},
		{"tts a string", `{"method":"speak","params":{"tts":"Hi"}}`, "params.tts"},
		{"message a number", `{"method":"speak","params":{"tts":{"message":1}}}`, "params.tts.message"},
		{"urls a string", `{"method":"play_multiple","params":{"urls":"u"}}`, "params.urls"},
		{"half a digit", `{"method":"play","params":{"collect_digits":{"max":1.5}}}`, "params.collect_digits.max"},
		{"max huge", `{"method":"play","params":{"collect_digits":{"max":1e99}}}`, "params.collect_digits.max"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			a, err := telesign.ParseAction([]byte(tt.body))
			checkInvalid(t, err, tt.field)
			if a != nil {
				t.Errorf("an action came with the error: %#v", a)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	t.Parallel()
	dial := func(change func(*telesign.Dial)) telesign.Action {
		d := telesign.Dial{To: "15555551212", CallerIDNumber: "15554441313"}
		change(&d)
		return d
	}
	collect := func(c telesign.CollectDigits) telesign.Action {
		return telesign.Play{URL: "https://a.b", CollectDigits: &c}
	}
	tests := []struct {
		name   string
		action telesign.Action
		field  string
	}{
		{"no to", dial(func(d *telesign.Dial) { d.To = "" }), "to"},
		{"to with plus", dial(func(d *telesign.Dial) { d.To = "+15555551212" }), "to"},
		{"to too long", dial(func(d *telesign.Dial) { d.To = "1234567890123456" }), "to"},
		{"no caller id", dial(func(d *telesign.Dial) { d.CallerIDNumber = "" }), "caller_id_number"},
		{"caller id a word", dial(func(d *telesign.Dial) { d.CallerIDNumber = "anonymous" }), "caller_id_number"},
		{"too long a call", dial(func(d *telesign.Dial) { d.MaxCallDuration = 14401 * time.Second }), "max_call_duration"},
		{"negative duration", dial(func(d *telesign.Dial) { d.MaxCallDuration = -time.Second }), "max_call_duration"},
		{"part of a second", dial(func(d *telesign.Dial) { d.MaxCallDuration = 1500 * time.Millisecond }), "max_call_duration"},
		{"lower-case key", dial(func(d *telesign.Dial) { d.SendDTMF = "1a" }), "send_dtmf"},
		{"external id too long", dial(func(d *telesign.Dial) { d.ExternalID = strings.Repeat("x", 101) }), "external_id"},
		{"external id not ASCII", dial(func(d *telesign.Dial) { d.ExternalID = "é" }), "external_id"},
		{"external id with a line feed", dial(func(d *telesign.Dial) { d.ExternalID = "a\nb" }), "external_id"},
		{"no message", telesign.Speak{}, "tts.message"},
		{"blank message", telesign.Speak{Message: " \n"}, "tts.message"},
		{"broken SSML", telesign.Speak{Message: "<speak>a & b</speak>"}, "tts.message"},
		{"message not UTF-8", telesign.Speak{Message: "\xff"}, "tts.message"},
		{"language a word", telesign.Speak{Message: "Hi", Language: "English"}, "tts.language"},
		{"language with underscore", telesign.Speak{Message: "Hi", Language: "en_US"}, "tts.language"},
		{"no URL", telesign.Play{}, "url"},
		{"a path", telesign.Play{URL: "/a.wav"}, "url"},
		{"a file", telesign.Play{URL: "file:///etc/passwd"}, "url"},
		{"ftp", telesign.Play{URL: "ftp://a.b/c.wav"}, "url"},
		{"no host", telesign.Play{URL: "https:///c.wav"}, "url"},
		{"a port but no host", telesign.Play{URL: "https://:443/c.wav"}, "url"},
		{"a space", telesign.Play{URL: "https://a.b/c d.wav"}, "url"},
		{"a broken escape", telesign.Play{URL: "https://a.b/%zz"}, "url"},
		{"no URLs", telesign.PlayMultiple{}, "urls"},
		{"second URL wrong", telesign.PlayMultiple{URLs: []string{"https://a.b", "x"}}, "urls"},
		{"no keys", telesign.SendDTMF{}, "digits"},
		{"a letter", telesign.SendDTMF{Digits: "12E"}, "digits"},
		{"max 0", collect(telesign.CollectDigits{}), "collect_digits.max"},
		{"max 101", collect(telesign.CollectDigits{Max: 101}), "collect_digits.max"},
		{"negative timer", collect(telesign.CollectDigits{Max: 1, Timeout: -1}), "collect_digits.timeout"},
		{"timer beyond the call", collect(telesign.CollectDigits{Max: 1, Timeout: math.MaxInt64}), "collect_digits.timeout"},
		{"part of a millisecond", collect(telesign.CollectDigits{Max: 1, InterDigitTimeout: time.Microsecond}), "collect_digits.inter_digit_timeout"},
		{"a pause as terminator", collect(telesign.CollectDigits{Max: 1, Terminators: "#w"}), "collect_digits.terminators"},
		{"collect on speak", telesign.Speak{Message: "Hi", CollectDigits: &telesign.CollectDigits{}}, "collect_digits.max"},
		{"collect on play_multiple", telesign.PlayMultiple{URLs: []string{"https://a.b"}, CollectDigits: &telesign.CollectDigits{}}, "collect_digits.max"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			checkInvalid(t, tt.action.Validate(), tt.field)
			if body, err := telesign.Encode(tt.action); err == nil {
				t.Errorf("encoded all the same: %s", body)
			}
		})
	}
}

func FuzzParseAction(f *testing.F) {
	for name := range goldenActions {
		f.Add(golden(f, "actions", name+".json"))
	}
	f.Add([]byte(`[{"method":"speak","params":{"tts":{"message":"Hi","language":null},"collect_digits":{"max":"1"}}}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		a, err := telesign.ParseAction(body)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeInvalid || a != nil {
				t.Fatalf("%#v with an error of code %s: %v", a, messages.CodeOf(err), err)
			}
			return
		}
		if a != nil && a.Validate() != nil {
			return
		}
		encoded := checkEncoded(t, a)
		again, err := telesign.ParseAction(encoded)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, encoded)
		}
		if diff := cmp.Diff(a, again); diff != "" {
			t.Fatalf("changed on the way round:\n%s", diff)
		}
	})
}
