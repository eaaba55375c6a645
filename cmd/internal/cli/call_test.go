package cli_test

import (
	"encoding/json"
	"flag"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/cmd/internal/cli"
	"github.com/offhook/offhook/messages"
)

var update = flag.Bool("update", false, "write the golden files anew")

func TestWriteCall(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	at := func(ms int) *time.Time {
		instant := noon.Add(time.Duration(ms) * time.Millisecond).In(time.FixedZone("", 3600))
		return &instant
	}
	intent := &messages.Intent{ID: "oh-1", CreatedAt: noon, Status: messages.CallAccepted, HTTPStatus: 202, Outcome: "dial_accepted", CallID: "BC96D7B0"}
	placed := messages.Record{ExternalID: "oh-1", Flow: "survey", FlowHash: "0123", Direction: "outbound", To: "15558675309", From: "15555551212"}
	ended := placed
	ended.CallID, ended.Disposition, ended.LastStep, ended.HungUpBy = "BC96D7B0", messages.DispositionCompleted, "thanks", messages.HungUpByFlow
	ended.AnsweredAt, ended.EndedAt, ended.TalkSeconds, ended.Holds = at(0), at(5250), 5.25, 1
	ended.AudioRecordingFileName = "BC96D7B0.wav"
	ended.Answers = []messages.Answer{{Name: "rating", Value: "5", Label: "very good"}, {Name: "zip", Value: "007"}}
	ended.Timeline = []messages.Moment{
		{
			At: *at(0), Event: "dial_completed", Status: "answered", Decision: "begun", Step: "rating", DecidedAt: at(3),
			Action: json.RawMessage(`{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"Hello Ann. ` + strings.Repeat("How was it? ", 10) + `"},"collect_digits":{"max":1}}}`),
		},
		{At: *at(2000), Event: "speak_completed", Digits: "5", Decision: "held", Reason: "unavailable"},
		{At: *at(2001), Event: "told", Decision: "reported", Reason: "no reply in time", Step: "rating"},
		{
			At: *at(4000), Event: "speak_completed", Status: "speak_successful", Decision: "hold_ended", Step: "thanks", DecidedAt: at(4002),
			Action: json.RawMessage(`{"jsonrpc":"2.0","method":"play_multiple","params":{"urls":["https://example.com/a.wav","https://example.com/b.wav"]}}`),
		},
		{At: *at(5000), Event: "play_completed", Decision: "said", Step: "thanks", DecidedAt: at(5001), Action: json.RawMessage(`{"jsonrpc":"2.0","method":"hangup","params":{}}`)},
		{At: *at(5250), Event: "call_completed", Status: "hangup", Decision: "ended", DecidedAt: at(5251), Action: json.RawMessage(`{}`)},
	}
	refused := *intent
	refused.Status, refused.HTTPStatus, refused.Outcome = messages.CallRefused, 200, "to_number_blocked_by_country"
	unknown := *intent
	unknown.Status, unknown.HTTPStatus, unknown.Outcome = messages.CallUnknown, 0, "ambiguous"
	hostile := ended
	hostile.Disposition, hostile.Answers, hostile.LastStep = "\x1b]0;owned\a", nil, "a\tb\nc"
	hostile.Timeline = []messages.Moment{{At: noon, Event: "\x1b[2J", Digits: "5\u202e", Decision: "held", Action: json.RawMessage("\x1b")}}
	for name, c := range map[string]messages.Call{
		"call_queued":   {Status: messages.CallQueued, Intent: &messages.Intent{CreatedAt: noon}, Record: placed},
		"call_refused":  {Status: messages.CallRefused, Intent: &refused, Record: placed},
		"call_unknown":  {Status: messages.CallUnknown, Intent: &unknown, Record: placed},
		"call_ended":    {Status: messages.CallEnded, Intent: intent, Record: ended},
		"call_incoming": {Status: messages.CallLive, Record: messages.Record{CallID: "534e1848", Direction: "inbound", Timeline: ended.Timeline[:1]}},
		"call_hostile":  {Status: messages.CallEnded, Record: hostile},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got strings.Builder
			if err := cli.WriteCall(&got, c); err != nil {
				t.Fatal(err)
			}
			golden(t, name+".txt", got.String())
		})
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (run with -update once it is meant to change): -want +got\n%s", path, diff)
	}
}

// door is an API that is told what to answer, one answer after the other; the last
// one stays.
type door struct {
	mu      sync.Mutex
	asked   []string
	answers []string // status and body
	seen    chan struct{}
	url     string
}

func newDoor(t *testing.T, answers ...string) *door {
	t.Helper()
	d := &door{answers: answers, seen: make(chan struct{}, 100)}
	server := httptest.NewServer(d)
	t.Cleanup(server.Close)
	d.url = server.URL
	return d
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body) // what is missing shows
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = append(d.asked, r.Method+" "+r.URL.Path+" "+string(body))
	select {
	case d.seen <- struct{}{}:
	default: // nobody waits for so many
	}
	answer := d.answers[0]
	if len(d.answers) > 1 {
		d.answers = d.answers[1:]
	}
	status, text, _ := strings.Cut(answer, " ")
	switch status {
	case "202":
		w.WriteHeader(http.StatusAccepted)
	case "503":
		w.WriteHeader(http.StatusServiceUnavailable)
	case "cut":
		panic(http.ErrAbortHandler)
	}
	_, _ = io.WriteString(w, text)
}

func (d *door) requests() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]string{}, d.asked...)
}

func (d *door) env() []string { return []string{"OFFHOOK_API_URL=" + d.url} }

const placedAnswer = `202 {"id":"oh-1","warnings":["to: has only 7 digits"]}`

func TestCallPlace(t *testing.T) {
	t.Parallel()
	d := newDoor(t, placedAnswer)
	before := time.Now()
	stdout, stderr := run(t, d.env(), 0, "call", "place", "--to", "15558675309", "--caller-id", "15555551212", "--flow", "survey",
		"--contact", "first_name=Ann", "--contact", "note=a=b", "--key", "k", "--within", "1m")
	if stdout != "placed oh-1\nsee how it goes: offhook call show oh-1\n" || stderr != "offhook: warning: to: has only 7 digits\n" {
		t.Errorf("stdout %q, stderr %q", stdout, stderr)
	}
	var got messages.PlaceCall
	if err := json.Unmarshal([]byte(strings.TrimPrefix(d.requests()[0], "POST /v1/calls ")), &got); err != nil {
		t.Fatal(err)
	}
	if late := got.NotAfter.Sub(before); late < time.Minute || late > 2*time.Minute {
		t.Errorf("wanted for %s, want 1m", late)
	}
	got.NotAfter = time.Time{}
	want := messages.PlaceCall{To: "15558675309", CallerID: "15555551212", Flow: "survey", Contact: map[string]string{"first_name": "Ann", "note": "a=b"}, Key: "k"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	stdout, _ = run(t, d.env(), 0, "call", "place", "--to", "15558675309", "--flow", "survey", "--json")
	var placed messages.PlacedCall
	if err := json.Unmarshal([]byte(stdout), &placed); err != nil || placed.ID != "oh-1" {
		t.Errorf("got %s, %v", stdout, err)
	}
	for _, contact := range []string{"first_name", "=Ann"} {
		if _, stderr := run(t, d.env(), 2, "call", "place", "--to", "1", "--flow", "f", "--contact", contact); !strings.Contains(stderr, "is not name=value") {
			t.Errorf("%s: %s", contact, stderr)
		}
	}
	if _, stderr := run(t, d.env(), 2, "call", "place", "--to", "1", "--flow", "f", "--contact", "a=1", "--contact", "a=2"); !strings.Contains(stderr, "a is given twice") {
		t.Error(stderr)
	}
}

// A request whose answer was lost can be repeated without a second call, though no
// key was given.
func TestCallPlaceAnswerLost(t *testing.T) {
	t.Parallel()
	for _, answer := range []string{"cut", `503 {"error":{"code":"unavailable","message":"not known to be queued"}}`} {
		d := newDoor(t, answer, placedAnswer)
		args := []string{"call", "place", "--to", "15558675309", "--flow", "survey"}
		_, stderr := run(t, d.env(), 3, args...)
		match := regexp.MustCompile(`repeat the command with --key (\S+), which never dials twice`).FindStringSubmatch(stderr)
		if match == nil {
			t.Fatalf("stderr does not say how to go on: %s", stderr)
		}
		run(t, d.env(), 0, append(args, "--key", match[1])...)
		for _, request := range d.requests() {
			if !strings.Contains(request, `"idempotency_key":"`+match[1]+`"`) {
				t.Errorf("%s was sent without the key %s", request, match[1])
			}
		}
	}
	_, stderr := run(t, []string{"OFFHOOK_API_URL=http://127.0.0.1:1"}, 3, "call", "place", "--to", "15558675309", "--flow", "survey")
	if strings.Contains(stderr, "--key") || !strings.Contains(stderr, "no offhook API at") {
		t.Errorf("nothing was sent, and there is advice about it: %s", stderr)
	}
}

func TestCallPlaceWait(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, last string
		exit       int
		says       string
	}{
		{"ended", `200 {"status":"ended","record":{"disposition":"completed"}}`, 0, ""},
		{"TeleSign said no", `200 {"status":"refused","intent":{"http_status":200,"outcome":"to_number_blocked_by_country"}}`, 5, "TeleSign refused the call: to_number_blocked_by_country"},
		{"its time ran out", `200 {"status":"refused","intent":{"outcome":"expired"}}`, 3, "the call was not sent to TeleSign: expired"},
		{"nobody knows", `200 {"status":"unknown","intent":{"outcome":"ambiguous"}}`, 3, "not known whether TeleSign placed the call (ambiguous); it is not sent again"},
		{"the API has gone", `503 {"error":{"code":"unavailable","message":"Redis is away"}}`, 3, "Redis is away"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			const away = `503 {"error":{"code":"unavailable","message":"Redis is being restarted"}}`
			d := newDoor(t, placedAnswer, `200 {"status":"queued"}`, away, `200 {"status":"dialing"}`, away, away, tt.last)
			stdout, stderr := run(t, d.env(), tt.exit, "call", "place", "--to", "15558675309", "--flow", "survey", "--wait")
			if !strings.Contains(stderr, tt.says) {
				t.Errorf("stderr %s, want %q", stderr, tt.says)
			}
			if shown := strings.HasPrefix(stdout, "status"); shown != strings.HasPrefix(tt.last, "200") {
				t.Errorf("stdout %q", stdout)
			}
		})
	}
}

// Ctrl-C ends the waiting, not the call.
func TestCallPlaceWaitInterrupted(t *testing.T) {
	t.Parallel()
	d := newDoor(t, placedAnswer, `200 {"status":"live"}`)
	p := start(t, d.env(), "call", "place", "--to", "15558675309", "--flow", "survey", "--wait")
	<-d.seen
	<-d.seen
	p.stop()
	p.exit(3)
	if text := p.stderr.String(); !strings.Contains(text, "stopped waiting; the call goes on: offhook call show oh-1") {
		t.Errorf("stderr %q", text)
	}
}
