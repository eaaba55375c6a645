package simulator

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

const (
	hangup  = `{"jsonrpc":"2.0","method":"hangup","params":{}}`
	speak   = `{"jsonrpc":"2.0","method":"speak","params":{"tts":{"message":"123456789012345678901234567890"}}}` // 2s
	collect = `{"jsonrpc":"2.0","method":"play","params":{"url":"https://audio.example.com/a.wav","collect_digits":{"max":5,"timeout":10000,"inter_digit_timeout":3000,"terminators":"#"}}}`
)

// fixed picks up after 2s and does the same at every prompt.
type fixed struct {
	outcome Outcome
	react   Reaction
}

func (f fixed) PickUp() Pickup {
	if f.outcome == "" {
		f.outcome = Answered
	}
	return Pickup{Outcome: f.outcome, Ring: 2 * second}
}

func (f fixed) Hear(Prompt) Reaction { return f.react }

// answers answers the events of a call one by one, and hangs up after the last.
func answers(list ...string) webhook {
	n := 0
	return func(telesign.Event) string {
		n++
		if n > len(list) {
			return hangup
		}
		return list[n-1]
	}
}

// TestWholeDialogue is the dialogue of TeleSign's page, with every member of every
// event.
func TestWholeDialogue(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.People = Scripted(Script{Ring: 4 * second, Replies: []string{"42#"}})
	l := live(t, cfg, webhook(func(e telesign.Event) string {
		if e.Name == telesign.DialCompleted && e.Status == telesign.StatusAnswered {
			return collect
		}
		return hangup
	}), nil)
	var got []any
	for _, x := range l.Exchanges {
		var event any
		if err := json.Unmarshal([]byte(strings.ReplaceAll(string(x.Event), l.ReferenceID, "REF")), &event); err != nil {
			t.Fatal(err)
		}
		got = append(got, event)
	}
	// Fake time begins at 2000-01-01. It rings 4s, plays 5s, and after a quarter of a
	// second each come 4, 2 and #.
	want := []any{
		map[string]any{"event": "dial_completed", "reference_id": "REF", "external_id": "x-1", "data": map[string]any{
			"to": "15555551212", "from": "15554441313", "status": "answered",
		}},
		map[string]any{"event": "play_completed", "reference_id": "REF", "external_id": "x-1", "data": map[string]any{
			"to": "15555551212", "from": "15554441313", "status": "play_successful", "collected_digits": "42",
		}},
		map[string]any{"event": "call_completed", "reference_id": "REF", "external_id": "x-1", "data": map[string]any{
			"to": "15555551212", "from": "15554441313", "status": "hangup", "direction": "outbound",
			"duration": 9.0, "created_on_utc": "2000-01-01T00:00:00.000", "answered_on_utc": "2000-01-01T00:00:04.000",
			"ended_on_utc": "2000-01-01T00:00:09.750", "audio_recording_file_name": nil,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if l.End != EndHangup {
		t.Errorf("the call ended with %q, want hangup", l.End)
	}
	if !l.report.Healthy() {
		t.Errorf("not healthy:\n%s", l.report)
	}
}

func TestHowCallsEnd(t *testing.T) {
	t.Parallel()
	const (
		bridge      = `{"method":"dial","params":{"to":"15550001111","caller_id_number":"15554441313","external_id":"leg"}}`
		stealBridge = `{"method":"dial","params":{"to":"15550001111","caller_id_number":"15559999999"}}`
		dtmf        = `{"method":"send_dtmf","params":{"digits":"12w#"}}`
		several     = `{"method":"play_multiple","params":{"urls":["https://audio.example.com/1.wav","https://audio.example.com/2.wav"]}}`
		broken      = `{"method":"play","params":{"url":"https://broken.example.com/a.wav","collect_digits":{"max":1}}}`
	)
	hangsUp := fixed{react: Reaction{Presses: at("1", 0.5, "2", 1.5), HangsUp: true, HangUpAt: second}}
	incoming := func(t *testing.T, s *Simulator) {
		if _, err := s.Incoming("15554441313", "15555551212"); err != nil {
			t.Error(err)
		}
	}
	tests := []struct {
		name    string
		person  Person
		cfg     func(c *Config)
		begin   func(t *testing.T, s *Simulator)
		answer  http.Handler
		events  string // with statuses and digits
		end     End
		invalid string // in the report's example
		missed  string
		took    time.Duration // 0: not checked
	}{
		{name: "answered, hung up", answer: answers(), events: "dial_completed answered; call_completed hangup", end: EndHangup, took: 2 * second},
		{
			name: "prompt after prompt", answer: answers(speak, collect), person: fixed{react: Reaction{Presses: at("1", 6)}},
			events: "dial_completed answered; speak_completed speak_successful; play_completed play_successful 1; call_completed hangup", end: EndHangup, took: 13 * second,
		},
		{
			name: "every other action", answer: answers(several, dtmf, speak),
			events: "dial_completed answered; play_completed play_successful; send_dtmf_completed send_dtmf_successful; speak_completed speak_successful; call_completed hangup",
			end:    EndHangup, took: 2*second + 10*second + 1250*time.Millisecond + 2*second,
		},
		{
			name: "other names for what is not documented", answer: answers(several, dtmf),
			cfg: func(c *Config) {
				c.Assume.PlayMultipleCompleted, c.Assume.SendDTMFCompleted = "play_multiple_completed", "dtmf_completed"
			},
			events: "dial_completed answered; play_multiple_completed play_successful; dtmf_completed send_dtmf_successful; call_completed hangup", end: EndHangup,
		},
		{
			name: "answer as an array, call_completed with nothing", answer: answers("["+hangup+"]", ""),
			events: "dial_completed answered; call_completed hangup", end: EndHangup,
		},
		{
			name: "call_completed with nonsense", answer: answers(hangup, "Unknown Code Path"),
			events: "dial_completed answered; call_completed hangup", end: EndHangup,
		},

		{name: "busy", person: fixed{outcome: Busy}, answer: answers(), events: "dial_completed busy; call_completed busy", end: "busy", took: 2 * second},
		{name: "a word of one's own", person: fixed{outcome: "rejected"}, answer: answers(), events: "dial_completed rejected; call_completed rejected", end: "rejected"},
		{name: "no answer, and no action either", person: fixed{outcome: NoAnswer}, answer: answers("{}"), events: "dial_completed no_answer; call_completed no_answer", end: "no_answer"},
		{
			name: "speaking to nobody", person: fixed{outcome: Failed}, answer: answers(speak), events: "dial_completed failed; call_completed unsupported_call_state",
			end: EndInvalid, invalid: "speak needs somebody on the line",
		},

		{name: "incoming", begin: incoming, answer: answers(speak), events: "incoming_call; speak_completed speak_successful; call_completed hangup", end: EndHangup, took: 2 * second},
		{name: "incoming, rejected", begin: incoming, answer: answers(), events: "incoming_call; call_completed hangup", end: EndHangup},
		{name: "incoming, nothing", begin: incoming, answer: answers("{}"), events: "incoming_call; call_completed unsupported_call_state", end: EndInvalid, invalid: "no action"},
		{
			name: "incoming, bridged with the caller's number", begin: incoming, answer: answers(bridge, speak),
			cfg:    func(c *Config) { c.CallerIDs = []string{"15555551212"} },
			events: "incoming_call; call_leg_completed hangup; speak_completed speak_successful; call_completed hangup", end: EndHangup, took: 22 * second,
		},
		{
			name: "bridged with a number of somebody else's", begin: incoming, answer: answers(stealBridge),
			cfg:    func(c *Config) { c.CallerIDs = []string{"15555551212"} },
			events: "incoming_call; call_completed unsupported_call_state", end: EndInvalid, invalid: "caller_id_number_not_owned",
		},
		{
			name: "bridged to a blocked number", answer: answers(speak, bridge),
			cfg:    func(c *Config) { c.Blocked = []Block{{"15550001111", telesign.ToNumberBlockedByCountry}} },
			events: "dial_completed answered; speak_completed speak_successful; call_leg_completed to_number_blocked_by_country; call_completed hangup", end: EndHangup,
		},
		{
			name: "bridged after a prompt, strictly", answer: answers(speak, bridge), cfg: func(c *Config) { c.AnswerTable = telesign.Strict },
			events: "dial_completed answered; speak_completed speak_successful; call_completed unsupported_call_state", end: EndInvalid, invalid: "dial cannot answer speak_completed by the strict table",
		},
		{name: "hung up while bridged", person: hangsUp, answer: answers(bridge), events: "dial_completed answered; call_completed hangup", end: EndPerson, took: 3 * second},

		{name: "hung up mid-prompt", person: hangsUp, answer: answers(collect), events: "dial_completed answered; call_completed hangup", end: EndPerson, took: 3 * second},
		{
			name: "hung up mid-prompt, prompt completed", person: hangsUp, answer: answers(collect, collect), cfg: func(c *Config) { c.Assume.CompletePrompt = true },
			events: "dial_completed answered; play_completed play_successful 1; call_completed hangup", end: EndPerson, took: 3 * second,
		},
		{
			name: "hung up mid-prompt, completion not understood", person: hangsUp, answer: answers(collect, "?"), cfg: func(c *Config) { c.Assume.CompletePrompt = true },
			events: "dial_completed answered; play_completed play_successful 1; call_completed hangup", end: EndPerson, invalid: "not JSON",
		},
		{
			name: "broken audio", answer: answers(broken, speak), cfg: func(c *Config) { c.BrokenAudio = []string{"https://broken."} },
			events: "dial_completed answered; play_completed play_failed; speak_completed speak_successful; call_completed hangup", end: EndHangup, took: 4500 * time.Millisecond,
		},
		{
			name: "longest call", answer: answers(speak, speak, speak), person: fixed{},
			begin: func(_ *testing.T, s *Simulator) {
				post(s, `{"method":"dial","params":{"to":"15555551212","caller_id_number":"15554441313","max_call_duration":"3"}}`)
			},
			events: "dial_completed answered; speak_completed speak_successful; call_completed hangup", end: EndMaxDuration, took: 5 * second,
		},

		{name: "not JSON", answer: answers("<Response/>"), events: "dial_completed answered; call_completed unsupported_call_state", end: EndInvalid, invalid: "not JSON"},
		{name: "unknown method", answer: answers(`{"method":"sing"}`), events: "dial_completed answered; call_completed unsupported_call_state", end: EndInvalid, invalid: "sing"},
		{name: "two actions", answer: answers("[" + speak + "," + speak + "]"), events: "dial_completed answered; call_completed unsupported_call_state", end: EndInvalid, invalid: "2 actions"},
		{name: "no action", answer: answers(""), events: "dial_completed answered; call_completed unsupported_call_state", end: EndInvalid, invalid: "no action"},
		{name: "bad parameter", answer: answers(`{"method":"play","params":{"url":"ftp://example.com/a.wav"}}`), events: "dial_completed answered; call_completed unsupported_call_state", end: EndInvalid, invalid: "url"},
		{name: "too long", answer: answers(strings.Repeat(" ", maxAnswer) + hangup), events: "dial_completed answered; call_completed unsupported_call_state", end: EndInvalid, invalid: "longer than"},
		{name: "send_dtmf to a caller", begin: incoming, answer: answers(dtmf), events: "incoming_call; call_completed unsupported_call_state", end: EndInvalid, invalid: "send_dtmf cannot answer incoming_call"},

		{name: "no answer in the window", answer: never, events: "dial_completed answered; call_completed hangup", end: EndMissed, missed: "window", took: 2*second + 5*second},
		{
			name: "503", answer: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "full", http.StatusServiceUnavailable) }),
			events: "dial_completed answered; call_completed hangup", end: EndMissed, missed: "http_503",
		},
		{
			name: "204 is not 200", answer: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }),
			events: "dial_completed answered; call_completed hangup", end: EndMissed, missed: "http_204",
		},
		{
			name: "a redirect is not followed", answer: http.RedirectHandler("http://elsewhere.test/", http.StatusTemporaryRedirect),
			events: "dial_completed answered; call_completed hangup", end: EndMissed, missed: "http_307",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			person := tt.person
			if person == nil {
				person = fixed{}
			}
			cfg.People = func(CallInfo) Person { return person }
			if tt.cfg != nil {
				tt.cfg(&cfg)
			}
			l := live(t, cfg, tt.answer, tt.begin)
			var events []string
			for i := range l.Exchanges {
				e := l.event(t, i)
				events = append(events, strings.Join(slices.DeleteFunc([]string{string(e.Name), e.Status, e.Digits}, func(s string) bool { return s == "" }), " "))
			}
			if got := strings.Join(events, "; "); got != tt.events {
				t.Errorf("events\n got %s\nwant %s", got, tt.events)
			}
			if l.End != tt.end || l.report.Calls.Ended[tt.end] != 1 || l.report.Calls.Total != 1 || l.report.Calls.Live != 0 {
				t.Errorf("ended with %q, reported %+v, want %q", l.End, l.report.Calls, tt.end)
			}
			if tt.took != 0 && l.total() != tt.took {
				t.Errorf("the call took %s, want %s", l.total(), tt.took)
			}
			checkProblems(t, "invalid", l.report.Invalid, tt.invalid)
			checkProblems(t, "missed", l.report.Missed, tt.missed)
			if tt.missed != "" && l.report.Missed.By[tt.missed] == 0 {
				t.Errorf("missed by %v, want %q", l.report.Missed.By, tt.missed)
			}
		})
	}
}

func checkProblems(t *testing.T, kind string, p Problems, want string) {
	t.Helper()
	switch {
	case (p.Count == 0) != (want == ""):
		t.Errorf("%d %s answers, want some of %q: %+v", p.Count, kind, want, p.Examples)
	case want != "" && !strings.Contains(p.Examples[0].Problem, want):
		t.Errorf("%s: the example says %q, want %q in it", kind, p.Examples[0].Problem, want)
	}
}

func TestNothingPressedIsSpelledAsAssumed(t *testing.T) {
	t.Parallel()
	for spelling, want := range map[NoDigits]string{
		NoDigitsEmpty: `"collected_digits":""`, NoDigitsNull: `"collected_digits":null`, NoDigitsAbsent: "",
	} {
		cfg := config()
		cfg.Assume.NoDigits = spelling
		cfg.People = Scripted(Script{})
		l := live(t, cfg, answers(collect, speak), nil)
		got := string(l.Exchanges[1].Event)
		if strings.Contains(got, "collected_digits") != (want != "") || !strings.Contains(got, want) {
			t.Errorf("%s: %s, want %q in it", spelling, got, want)
		}
		if got := string(l.Exchanges[2].Event); strings.Contains(got, "collected_digits") {
			t.Errorf("%s: digits after a prompt that asked for none: %s", spelling, got)
		}
	}
}

func TestLegEventSpeaksOfTheLeg(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.People = Scripted(Script{})
	l := live(t, cfg, answers(`{"method":"dial","params":{"to":"15550001111","caller_id_number":"15554441313","external_id":"leg"}}`), nil)
	e := l.event(t, 1)
	if e.Name != telesign.CallLegCompleted || e.To != "15550001111" || e.From != "15554441313" || e.ExternalID != "leg" || e.ReferenceID != l.ReferenceID ||
		e.Direction != Outbound || e.Duration != 20 || e.EndedOn.Sub(e.CreatedOn) != 20*second {
		t.Errorf("the leg's event is %+v", e)
	}
}

func TestRecordingIsNamedWhenSomebodyAnswered(t *testing.T) {
	t.Parallel()
	for outcome, want := range map[Outcome]bool{Answered: true, Busy: false} {
		cfg := config()
		cfg.Recordings = true
		cfg.People = Scripted(Script{Outcome: outcome})
		e := live(t, cfg, answers(), nil).event(t, 1)
		if got := e.AudioRecordingFileName; (got == e.ReferenceID+"_946684800.wav") != want || (got != "") != want {
			t.Errorf("%s: the recording is %q", outcome, got)
		}
		if e.AnsweredOn.IsZero() == want {
			t.Errorf("%s: answered on %s", outcome, e.AnsweredOn)
		}
	}
}

// The window is real time at any speed, the call's own clock goes on in it, and
// what takes just less than the window is an answer.
func TestWindowIsNotCompressed(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Speed = 100
	cfg.People = Scripted(Script{Ring: 10 * second})
	slow := func(d time.Duration) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-time.After(d):
				_, _ = io.WriteString(w, hangup)
			case <-r.Context().Done():
			}
		})
	}
	l := live(t, cfg, slow(4999*time.Millisecond), nil)
	if l.End != EndHangup || l.total() != 14999*time.Millisecond {
		t.Errorf("4.999s: ended with %s after %s, want hangup after 14.999s", l.End, l.total())
	}
	if l.report.Latency.Max != 4999 || l.report.Latency.Window != 5000 {
		t.Errorf("4.999s: latency %+v", l.report.Latency)
	}
	l = live(t, cfg, slow(5001*time.Millisecond), nil)
	if l.End != EndMissed || l.report.Missed.By["window"] != 2 || l.report.Latency.Max != 5000 {
		t.Errorf("5.001s: ended with %s, missed %v, latency %+v", l.End, l.report.Missed.By, l.report.Latency)
	}
}

// When Run's context ends, whoever is on the line hangs up, wherever the call is.
func TestStoppingHangsUp(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		answer http.Handler
		after  time.Duration
		events []string
		failed bool
	}{
		{"ringing", answers(), second, []string{"call_completed"}, false},
		{"mid-prompt", answers(collect), 4 * second, []string{"dial_completed", "call_completed"}, false},
		{"while an event is out", slowly{2 * second, answers(speak)}, 3 * second, []string{"dial_completed", "call_completed"}, false},
		{"a webhook that hangs", never, 3 * second, []string{"dial_completed", "call_completed"}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := config()
				cfg.AnswerWindow = 30 * second
				cfg.Transport = inProcess{tt.answer}
				cfg.People = func(CallInfo) Person { return fixed{} }
				s := newSimulator(t, cfg)
				post(s, dialBody) // before Run: it waits
				ctx, cancel := context.WithTimeout(t.Context(), tt.after)
				defer cancel()
				began := time.Now()
				err := s.Run(ctx)
				if (err != nil) != tt.failed || err != nil && messages.CodeOf(err) != messages.CodeTimeout {
					t.Errorf("Run: %v, want an error: %v", err, tt.failed)
				}
				if took := time.Since(began); took > tt.after+cfg.Grace {
					t.Errorf("Run took %s after its context ended, grace is %s", took-tt.after, cfg.Grace)
				}
				x := s.Transcripts()[0]
				l := lived{Transcript: x}
				if x.End != EndShutdown || !slices.Equal(l.names(), tt.events) {
					t.Errorf("ended with %s, events %v, want shutdown, %v", x.End, l.names(), tt.events)
				}
				if r := s.Report(); r.Missed.Count != 0 || r.Calls.Live != 0 {
					t.Errorf("stopping was counted against the webhook: %+v", r)
				}
				if w := post(s, dialBody); w.Code != http.StatusServiceUnavailable {
					t.Errorf("a dial after the end was answered %d", w.Code)
				}
				if _, err := s.Incoming("1", "2"); messages.CodeOf(err) != messages.CodeUnavailable {
					t.Errorf("an incoming call after the end: %v", err)
				}
				if err := s.Run(ctx); err == nil {
					t.Error("Run ran twice")
				}
				if err := s.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// slowly answers after a while, whatever the context says.
type slowly struct {
	after time.Duration
	http.Handler
}

func (s slowly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	select {
	case <-time.After(s.after):
		s.Handler.ServeHTTP(w, r)
	case <-r.Context().Done():
	}
}

func TestWaitGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, config())
	if err := s.Wait(t.Context()); err != nil {
		t.Errorf("no call is live: %v", err)
	}
	post(s, dialBody) // never run
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("a call is live: %v", err)
	}
}

func TestIncomingRefusesWhatIsNoNumber(t *testing.T) {
	t.Parallel()
	s := newSimulator(t, config())
	for _, n := range [][2]string{{"+1555", "15555551212"}, {"15555551212", ""}} {
		if _, err := s.Incoming(n[0], n[1]); messages.CodeOf(err) != messages.CodeInvalid {
			t.Errorf("from %q to %q: %v, want it refused", n[0], n[1], err)
		}
	}
}

// Whatever the webhook answers, it is either refused with a reason or an action
// that TeleSign allows for the event; and the answer to call_completed is ignored.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{hangup, speak, collect, "[" + hangup + "]", "", "{}", "<Response/>", `{"method":"dial"}`, `{"method":"play","params":{"url":1}}`} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		s := newSimulator(t, config())
		for _, name := range []telesign.EventName{telesign.IncomingCall, telesign.DialCompleted, telesign.SpeakCompleted, telesign.CallCompleted} {
			c := s.newCall(Outbound, telesign.Dial{To: "15555551212", CallerIDNumber: "15554441313"})
			if name != telesign.IncomingCall {
				c.pickUp()
			}
			action, err := c.judge(telesign.Event{Name: name}, body)
			switch {
			case name == telesign.CallCompleted:
				if err != nil {
					t.Fatalf("%q as an answer to call_completed: %v", body, err)
				}
			case err == nil && action == nil:
				t.Fatalf("%q asks for nothing and may answer %s", body, name)
			case err == nil && (action.Validate() != nil || !telesign.Lenient.Allows(name, action.Method())):
				t.Fatalf("%q may answer %s", body, name)
			}
		}
	})
}

func TestExternalIDOnce(t *testing.T) {
	t.Parallel()
	for _, once := range []bool{false, true} {
		c := &call{sim: &Simulator{cfg: Config{Assume: Assumptions{ExternalIDOnce: once}}}, info: CallInfo{ExternalID: "ours"}}
		if got := c.event(telesign.DialCompleted).ExternalID; got != "ours" {
			t.Errorf("once %v: dial_completed carries %q", once, got)
		}
		if got := c.event(telesign.SpeakCompleted).ExternalID; (got == "") != once {
			t.Errorf("once %v: speak_completed carries %q", once, got)
		}
	}
}
