package telesign_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// checkAgainstOracle compares ParseEvent with what it was before it had a scanner of
// its own: the same event, or the same error to the byte.
func checkAgainstOracle(t *testing.T, body []byte) {
	t.Helper()
	want, wantErr := oracleParseEvent(body)
	sent := bytes.Clone(body)
	got, gotErr := telesign.ParseEvent(body)
	if !bytes.Equal(body, sent) {
		t.Fatalf("the body was written to:\n%s\n%s", sent, body)
	}
	if wantErr != nil || gotErr != nil {
		if diff := cmp.Diff(faultOf(wantErr), faultOf(gotErr)); diff != "" {
			t.Fatalf("%q: errors (-want +got):\n%s", body, diff)
		}
	}
	for i := range body { // what was parsed must not refer to it
		body[i] = 'x'
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%q (-want +got):\n%s", sent, diff)
	}
}

type fault struct {
	Code       messages.Code
	Field      string
	Text, Body string
}

func faultOf(err error) fault {
	if err == nil {
		return fault{}
	}
	f := fault{Code: messages.CodeOf(err), Text: err.Error(), Body: messages.BodyOf(err).Error.Message}
	if e := (*messages.Error)(nil); errors.As(err, &e) {
		f.Field = e.Field
	}
	return f
}

// The bodies that are refused, repeated, or unusual in any way the oracle knows.
func TestParseEventAsTheOracle(t *testing.T) {
	t.Parallel()
	const data = `{"event":"speak_completed","reference_id":"R","data":`
	checkAgainstOracle(t, []byte(data+deep(10_000, "[", "]")+"}")) // one more than encoding/json takes
	checkAgainstOracle(t, []byte(data+`{"x":`+deep(9_998, "[", "]")+"}}"))
	checkAgainstOracle(t, []byte(data+`{"status":1,"collected_digits":[]},"external_id":{}}`)) // the first fault is told
	checkAgainstOracle(t, []byte(data+`{"status":1,"collected_digits":[]}}`))
	for _, body := range oddBodies() {
		checkAgainstOracle(t, []byte(body))
		checkAgainstOracle(t, []byte(data+body+"}"))
		checkAgainstOracle(t, []byte(data+`{"x":`+body+`,"status":"s","status":`+body+"}}"))
		for _, name := range []string{
			"event", "reference_id", "external_id", "data", "status", "collected_digits", "to", "from", "direction", "duration",
			"created_on_utc", "audio_recording_file_name", "Status", `st\u0061tus`, "\xff", "é", "",
		} {
			member := `"` + name + `":` + body
			for _, event := range []string{"speak_completed", "recording_completed"} {
				start := `{"event":"` + event + `","reference_id":"R",`
				checkAgainstOracle(t, []byte(start+member+"}"))
				checkAgainstOracle(t, []byte(start+`"data":{`+member+"}}"))
				checkAgainstOracle(t, []byte(start+`"data":{"to":"1",`+member+`},"status":"outside",`+member+"}"))
			}
		}
	}
}

func deep(n int, open, end string) string { return strings.Repeat(open, n) + strings.Repeat(end, n) }

// oddBodies are JSON values of every kind, and what only resembles them.
func oddBodies() []string {
	return []string{
		``, ` `, `null`, `true`, `false`, `nul`, `nullx`, `truefalse`, `tru`, `f`, `NaN`,
		`0`, `-0`, `-`, `01`, `1.`, `.5`, `+1`, `1e`, `1e+`, `1E-2`, `1.5e3`, `-1`, `6`, `1e999`, `0x1`, `1_0`, `4294967296`, `12345678901234567890`,
		`""`, `"`, `"a`, `"6"`, `"a\nb"`, `"\u0041"`, `"\ud800"`, `"\x"`, "\"\n\"", "\"\x7f\"", "\"\xff\"", "\"\xed\xa0\x80\"", "\"\u2028é\"", `"<&>"`, `'a'`,
		`"2019-03-15T06:48:22.151"`, `"2019-03-15T06:48:22+02:00"`, `"15 March"`,
		`{}`, ` { } `, `{`, `}`, `{,}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1 "b":2}`, `{"a":1;"b":2}`, `{a:1}`, `{1:1}`, `{"a":1,"a":2}`, `{"a":1,"\u0061":2}`,
		"{\t\"a\"\r:\n[ 1 , 2 ] }", "{\v\"a\":1}", "\ufeff{}", "{\"\xff\":1,\"\xfe\":2}", `{}{}`, `{} x`, "{}\x00",
		`[]`, `[ ]`, `[1,]`, `[,1]`, `[1 2]`, `[1`, `]`, `[{"a":[null]}]`,
		deep(15, "[", "]"), deep(17, "[", "]"), deep(40, `{"a":[`, "]}"), deep(17, "[", ""),
	}
}

// checkEncoded compares Encode of a valid action with the oracle's.
func checkEncoded(t *testing.T, a telesign.Action) []byte {
	t.Helper()
	want, err := oracleEncode(a)
	if err != nil {
		t.Fatal(err)
	}
	got, err := telesign.Encode(a)
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("%#v:\n got %q, %v\nwant %q", a, got, err, want)
	}
	return got
}

func TestEncodeAsTheOracle(t *testing.T) {
	t.Parallel()
	for _, a := range goldenActions {
		checkEncoded(t, a)
	}
	for _, text := range []string{
		"plain", `"quoted" \ and 'single'`, "a\tb\nc\r\b\f\x00\x1f\x7f", "<&> \u2028 \u2029", "é 漢字 🙂 \ufffd", `"`, `\`, "\"\u2028\"", "x\u2027\u202ay",
	} {
		checkEncoded(t, telesign.Speak{Message: text, Language: "en-US"})
		checkEncoded(t, telesign.Speak{Message: text + text})
	}
}

// Alone, collect_digits may not have been validated.
func TestMarshalCollectDigits(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(telesign.CollectDigits{Max: -1, InterDigitTimeout: -time.Second, Terminators: "\xff<"})
	if want := `{"max":-1,"inter_digit_timeout":-1000,"terminators":"\ufffd\u003c"}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v; want %s", got, err, want)
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("Press 1.", "en-US", 1, int64(10_000), int64(0), "#")
	f.Add("<speak>a \"b\" \\ \u2028</speak>", "", 0, int64(0), int64(0), "")
	f.Fuzz(func(t *testing.T, text, language string, most int, timeout, between int64, keys string) {
		collect := &telesign.CollectDigits{
			Max: most, Timeout: time.Duration(timeout) * time.Millisecond, InterDigitTimeout: time.Duration(between) * time.Millisecond, Terminators: keys,
		}
		if most == 0 {
			collect = nil
		}
		for _, a := range []telesign.Action{
			telesign.Speak{Message: text, Language: language, CollectDigits: collect},
			telesign.Play{URL: text, CollectDigits: collect},
			telesign.PlayMultiple{URLs: []string{"https://a.b/" + text, text}, CollectDigits: collect},
			telesign.SendDTMF{Digits: keys},
			telesign.Dial{To: "1", CallerIDNumber: "2", MaxCallDuration: time.Duration(timeout) * time.Second, SendDTMF: keys, ExternalID: text},
		} {
			if a.Validate() == nil {
				checkEncoded(t, a)
			}
		}
	})
}
