package telesign_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// golden reads one line of testdata.
func golden(t testing.TB, path ...string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join(append([]string{"testdata"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return bytes.TrimSuffix(body, []byte("\n"))
}

func at(second, millisecond int) time.Time {
	return time.Date(2019, 3, 15, 6, 48, second, millisecond*int(time.Millisecond), time.UTC)
}

// goldenEvents is what each file of testdata/events says.
var goldenEvents = map[string]telesign.Event{
	"incoming_call": {
		Name: telesign.IncomingCall, ReferenceID: "534e1848-235f-482d-983d-e3e11a04f58a",
		To: "15558675309", From: "15555551212",
	},
	"dial_completed": {
		Name: telesign.DialCompleted, ReferenceID: "BC96D7B0D1800164898350B4E71B005C",
		ExternalID: "4142b474-d65d-4265-a5fa-a581b1fe6101",
		To:         "15558675309", From: "15555551212", Status: telesign.StatusAnswered,
	},
	"speak_completed": {
		Name: telesign.SpeakCompleted, ReferenceID: "BC96D7B0D1800164898350B4E71B005C",
		To: "15558675309", From: "15555551212", Status: telesign.StatusSpeakSuccessful, Digits: "1",
	},
	"play_completed": {
		Name: telesign.PlayCompleted, ReferenceID: "BC96D7B0D1800164898350B4E71B005C",
		To: "15558675309", From: "15555551212", Status: telesign.StatusPlaySuccessful, Digits: "007",
	},
	"call_leg_completed": {
		Name: telesign.CallLegCompleted, ReferenceID: "BC96D7B0D1800164898350B4E71B005C",
		To: "15554441313", From: "15555551212", Direction: "outbound",
		Duration: 4, CreatedOn: at(22, 151), AnsweredOn: at(24, 151), EndedOn: at(26, 151),
	},
	"call_completed": {
		Name: telesign.CallCompleted, ReferenceID: "C58C8EB012D",
		To: "DESTINATION_NUMBER", From: "VIRTUAL_NUMBER", Status: "hangup", Direction: "outbound",
		Duration: 6, CreatedOn: at(22, 151), AnsweredOn: at(24, 151), EndedOn: at(28, 151),
	},
}

func TestEventsGolden(t *testing.T) {
	t.Parallel()
	for name, want := range goldenEvents {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := golden(t, "events", name+".json")
			got, err := telesign.ParseEvent(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("parsed (-want +got):\n%s", diff)
			}
			encoded, err := want.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(encoded, body) {
				t.Errorf("encoded:\n got %s\nwant %s", encoded, body)
			}
		})
	}
}

// A silent call_completed still has every member TeleSign's example has.
func TestEncodeCallCompletedIsComplete(t *testing.T) {
	t.Parallel()
	body, err := telesign.Event{Name: telesign.CallCompleted, ReferenceID: "R", EndedOn: at(28, 0)}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"event":"call_completed","reference_id":"R","data":{"duration":0,"created_on_utc":null,"answered_on_utc":null,` +
		`"ended_on_utc":"2019-03-15T06:48:28.000","audio_recording_file_name":null}}`
	if string(body) != want {
		t.Errorf("got  %s\nwant %s", body, want)
	}
}

func TestEncodeEvent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, want string
		event      telesign.Event
	}{
		{
			"finer time", `{"event":"x","reference_id":"R","data":{"ended_on_utc":"2019-03-15T06:48:28.0000015"}}`,
			telesign.Event{Name: "x", ReferenceID: "R", EndedOn: at(28, 0).Add(1500).In(time.FixedZone("", 3600))},
		},
		{
			"extra members, in order, fields first", `{"event":"x","reference_id":"R","data":{"status":"s","a":1,"collected_digits":null},"b":"<&>"}`,
			telesign.Event{
				Name: "x", ReferenceID: "R", Status: "s",
				Extra:     map[string]json.RawMessage{"b": json.RawMessage(`"<&>"`), "event": json.RawMessage(`"y"`)},
				ExtraData: map[string]json.RawMessage{"a": json.RawMessage(` 1 `), "status": json.RawMessage(`"t"`), "collected_digits": json.RawMessage(`null`)},
			},
		},
	}
	for _, tt := range tests {
		got, err := tt.event.Encode()
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
	bad := map[string]json.RawMessage{"x": json.RawMessage(`{`)}
	for _, e := range []telesign.Event{{Extra: bad}, {ExtraData: bad}} {
		if body, err := e.Encode(); err == nil {
			t.Errorf("a broken extra member is written: %s", body)
		}
	}
}

func TestParseEventLiberal(t *testing.T) {
	t.Parallel()
	event := func(change func(*telesign.Event)) telesign.Event {
		e := telesign.Event{Name: telesign.SpeakCompleted, ReferenceID: "R"}
		change(&e)
		return e
	}
	nothing := event(func(*telesign.Event) {})
	raw := func(s string) json.RawMessage { return json.RawMessage(s) }
	tests := []struct {
		name, body string
		want       telesign.Event
	}{
		{"no data", `{"event":"speak_completed","reference_id":"R"}`, nothing},
		{"null data", `{"event":"speak_completed","reference_id":"R","data":null}`, nothing},
		{"white space", " \n{ \"event\" : \"speak_completed\" , \"reference_id\" : \"R\" }\n ", nothing},
		{"digits missing", `{"event":"speak_completed","reference_id":"R","data":{}}`, nothing},
		{"digits null", `{"event":"speak_completed","reference_id":"R","data":{"collected_digits":null}}`, nothing},
		{"digits empty", `{"event":"speak_completed","reference_id":"R","data":{"collected_digits":""}}`, nothing},
		{
			"digits a number", `{"event":"speak_completed","reference_id":"R","data":{"collected_digits":42}}`,
			event(func(e *telesign.Event) { e.Digits = "42" }),
		},
		{
			"digits a star", `{"event":"speak_completed","reference_id":"R","data":{"collected_digits":"*"}}`,
			event(func(e *telesign.Event) { e.Digits = "*" }),
		},
		{
			"to and from on top", `{"event":"speak_completed","reference_id":"R","to":"1","from":"2","data":{}}`,
			event(func(e *telesign.Event) { e.To, e.From = "1", "2" }),
		},
		{
			"status and digits on top", `{"event":"speak_completed","reference_id":"R","status":"s","collected_digits":"3"}`,
			event(func(e *telesign.Event) { e.Status, e.Digits = "s", "3" }),
		},
		{
			"data wins over top", `{"event":"speak_completed","reference_id":"R","to":"1","data":{"to":"2"}}`,
			event(func(e *telesign.Event) { e.To = "2"; e.Extra = map[string]json.RawMessage{"to": raw(`"1"`)} }),
		},
		{
			"an empty data member does not win", `{"event":"speak_completed","reference_id":"R","to":"1","data":{"to":""}}`,
			event(func(e *telesign.Event) { e.To = "1" }),
		},
		{
			"null optional strings", `{"event":"speak_completed","reference_id":"R","external_id":null,"data":{"to":null,"status":null,"duration":null,"ended_on_utc":null}}`,
			nothing,
		},
		{
			"duration a string", `{"event":"speak_completed","reference_id":"R","data":{"duration":"6"}}`,
			event(func(e *telesign.Event) { e.Duration = 6 }),
		},
		{
			"duration with a fraction", `{"event":"speak_completed","reference_id":"R","data":{"duration":6.9}}`,
			event(func(e *telesign.Event) { e.Duration = 6 }),
		},
		{
			"time with a zone", `{"event":"speak_completed","reference_id":"R","data":{"ended_on_utc":"2019-03-15T07:48:28.5+01:00"}}`,
			event(func(e *telesign.Event) { e.EndedOn = at(28, 500) }),
		},
		{
			"time with a space", `{"event":"speak_completed","reference_id":"R","data":{"ended_on_utc":"2019-03-15 06:48:28"}}`,
			event(func(e *telesign.Event) { e.EndedOn = at(28, 0) }),
		},
		{
			"time that cannot be read is kept", `{"event":"speak_completed","reference_id":"R","data":{"ended_on_utc":"15 March"}}`,
			event(func(e *telesign.Event) { e.ExtraData = map[string]json.RawMessage{"ended_on_utc": raw(`"15 March"`)} }),
		},
		{
			"unknown members are kept", `{"event":"speak_completed","reference_id":"R","x":{"a": [1]},"data":{"asr":"yes","n":12345678901234567890}}`,
			event(func(e *telesign.Event) {
				e.Extra = map[string]json.RawMessage{"x": raw(`{"a": [1]}`)}
				e.ExtraData = map[string]json.RawMessage{"asr": raw(`"yes"`), "n": raw(`12345678901234567890`)}
			}),
		},
		{
			"unknown event", `{"event":"recording_completed","reference_id":"R","data":{"to":"1"}}`,
			event(func(e *telesign.Event) { e.Name = "recording_completed"; e.To = "1" }),
		},
		{
			"unknown event, other types", `{"event":"recording_completed","reference_id":"R","external_id":7,"to":[],"data":{"status":{"code":1},"duration":"long"}}`,
			event(func(e *telesign.Event) {
				e.Name = "recording_completed"
				e.Extra = map[string]json.RawMessage{"external_id": raw(`7`), "to": raw(`[]`)}
				e.ExtraData = map[string]json.RawMessage{"status": raw(`{"code":1}`), "duration": raw(`"long"`)}
			}),
		},
		// TeleSign's published example, member for member.
		{
			"published call_completed", `{"reference_id":"C58C8EB012D","event":"call_completed","data":{"duration":6,"created_on_utc":"2019-03-15T06:48:22.151","answered_on_utc":"2019-03-15T06:48:24.151","ended_on_utc":"2019-03-15T06:48:28.151","status":"hangup","audio_recording_file_name":null,"to":"DESTINATION_NUMBER","from":"VIRTUAL_NUMBER","direction":"outbound"}}`,
			goldenEvents["call_completed"],
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := telesign.ParseEvent([]byte(tt.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// What decides nothing is carried through when it cannot be read: an event is not
// lost for the sake of a number in a report.
func TestParseEventCarriesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, data, member string }{
		{"duration a word", `"duration":"NaN"`, "duration"},
		{"duration negative", `"duration":-1`, "duration"},
		{"duration huge", `"duration":1e999`, "duration"},
		{"time a number", `"ended_on_utc":1552632508`, "ended_on_utc"},
		{"recording a list", `"audio_recording_file_name":["a"]`, "audio_recording_file_name"},
		{"from an object", `"from":{}`, "from"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := telesign.ParseEvent([]byte(`{"event":"call_completed","reference_id":"R","data":{` + tt.data + `}}`))
			if err != nil {
				t.Fatal(err)
			}
			if e.ExtraData[tt.member] == nil || e.Duration != 0 || !e.EndedOn.IsZero() {
				t.Errorf("got %+v, want %s in ExtraData", e, tt.member)
			}
		})
	}
	e, err := telesign.ParseEvent([]byte(`{"event":"dial_completed","reference_id":"R","data":{"to":15555551212}}`))
	if err != nil || e.To != "15555551212" {
		t.Errorf("a number as a number: got %q, %v", e.To, err)
	}
}

func TestParseEventRefuses(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, body, field string }{
		{"nothing", ``, ""},
		{"not JSON", `event=dial_completed`, ""},
		{"cut off", `{"event":"dial_completed","reference_id":"R"`, ""},
		{"two objects", `{"event":"dial_completed","reference_id":"R"}{}`, ""},
		{"array", `[{"event":"dial_completed","reference_id":"R"}]`, ""},
		{"string", `"dial_completed"`, ""},
		{"null", `null`, ""},
		{"no event", `{"reference_id":"R"}`, "event"},
		{"empty event", `{"event":"","reference_id":"R"}`, "event"},
		{"null event", `{"event":null,"reference_id":"R"}`, "event"},
		{"event a number", `{"event":1,"reference_id":"R"}`, "event"},
		{"wrong case", `{"Event":"dial_completed","reference_id":"R"}`, "event"},
		{"no reference_id", `{"event":"dial_completed"}`, "reference_id"},
		{"reference_id a number", `{"event":"dial_completed","reference_id":12}`, "reference_id"},
		{"reference_id empty", `{"event":"dial_completed","reference_id":""}`, "reference_id"},
		{"external_id a number", `{"event":"dial_completed","reference_id":"R","external_id":1}`, "external_id"},
		{"data an array", `{"event":"dial_completed","reference_id":"R","data":[]}`, "data"},
		{"data of an unknown event a string", `{"event":"x","reference_id":"R","data":"s"}`, "data"},
		{"status a boolean", `{"event":"dial_completed","reference_id":"R","data":{"status":true}}`, "data.status"},
		{"digits an array", `{"event":"play_completed","reference_id":"R","data":{"collected_digits":["1"]}}`, "data.collected_digits"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			e, err := telesign.ParseEvent([]byte(tt.body))
			checkInvalid(t, err, tt.field)
			if diff := cmp.Diff(telesign.Event{}, e); diff != "" {
				t.Errorf("an event came with the error:\n%s", diff)
			}
		})
	}
}

// checkInvalid checks that err blames field with CodeInvalid.
func checkInvalid(t *testing.T, err error, field string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	e, ok := err.(*messages.Error) //nolint:errorlint // the outermost error decides the answer
	if !ok || e.Code != messages.CodeInvalid {
		t.Fatalf("got %T %v, want a *messages.Error of CodeInvalid", err, err)
	}
	if e.Field != field {
		t.Errorf("blames %q, want %q (%v)", e.Field, field, err)
	}
}

func TestCompletes(t *testing.T) {
	t.Parallel()
	const unforeseen telesign.EventName = "send_dtmf_completed"
	tests := map[telesign.Method][]telesign.EventName{
		telesign.MethodSpeak:        {telesign.SpeakCompleted},
		telesign.MethodPlay:         {telesign.PlayCompleted},
		telesign.MethodPlayMultiple: {telesign.PlayCompleted, unforeseen},
		telesign.MethodSendDTMF:     {unforeseen},
		telesign.MethodDial:         {telesign.DialCompleted, telesign.CallLegCompleted},
		telesign.MethodHangup:       {telesign.CallCompleted},
		"":                          nil,
	}
	events := []telesign.EventName{
		telesign.IncomingCall, telesign.DialCompleted, telesign.SpeakCompleted, telesign.PlayCompleted,
		telesign.CallLegCompleted, telesign.CallCompleted, unforeseen, "ringing", "",
	}
	for method, want := range tests {
		var got []telesign.EventName
		for _, e := range events {
			if telesign.Completes(e, method) {
				got = append(got, e)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q (-want +got):\n%s", method, diff)
		}
	}
	for _, e := range events {
		want := e == telesign.SpeakCompleted || e == telesign.PlayCompleted || e == unforeseen
		if got := e.EndsPrompt(); got != want {
			t.Errorf("%q ends a prompt: %v, want %v", e, got, want)
		}
	}
}

func TestPromptSucceeded(t *testing.T) {
	t.Parallel()
	tests := []struct {
		status, digits string
		want           bool
	}{
		{"speak_successful", "", true},
		{"play_successful", "", true},
		{"play_multiple_successful", "", true},
		{"", "", true},
		{"play_failed", "", false},
		{"play_failed", "1", true},
		{"successful", "", false},
	}
	for _, tt := range tests {
		if got := (telesign.Event{Status: tt.status, Digits: tt.digits}).PromptSucceeded(); got != tt.want {
			t.Errorf("status %q, digits %q: %v, want %v", tt.status, tt.digits, got, tt.want)
		}
	}
}

func FuzzParseEvent(f *testing.F) {
	for name := range goldenEvents {
		f.Add(golden(f, "events", name+".json"))
	}
	f.Add([]byte(`{"event":"x","reference_id":"R","to":"1","data":{"to":{},"duration":"6","ended_on_utc":"never","<&>":" "}}`))
	f.Add([]byte(`{"event":"call_completed","reference_id":"R","data":{"ended_on_utc":"0000-01-01T00:00:00+14:00","duration":null}}`))
	for _, body := range oddBodies() {
		f.Add([]byte(`{"event":"x","reference_id":"R","data":{"status":` + body + `}}`))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		checkAgainstOracle(t, bytes.Clone(body))
		e, err := telesign.ParseEvent(body)
		if err != nil {
			if messages.CodeOf(err) != messages.CodeInvalid {
				t.Fatalf("error of code %s: %v", messages.CodeOf(err), err)
			}
			return
		}
		if e.Name == "" || e.ReferenceID == "" {
			t.Fatalf("no name or reference id in %+v", e)
		}
		once, err := e.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		again, err := telesign.ParseEvent(once)
		if err != nil {
			t.Fatalf("what was written cannot be read: %v\n%s", err, once)
		}
		twice, err := again.Encode()
		if err != nil || !bytes.Equal(once, twice) {
			t.Fatalf("changed on the way round: %v\n%s\n%s", err, once, twice)
		}
	})
}
