package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

const (
	holdText = "One moment, please."
	holding  = `{"method":"speak","params":{"tts":{"message":"One moment, please.","language":"en-US"}}}`
	longHold = `{"method":"speak","params":{"tts":{"message":"<speak>One moment, please.<break strength=\"strong\"/><break strength=\"strong\"/></speak>"}}}`
)

// inject is a config with faults, whose person picks up after 2s and listens.
func inject(t *testing.T, specs ...string) Config {
	t.Helper()
	cfg := config()
	cfg.HoldTexts = []string{holdText}
	cfg.People = func(CallInfo) Person { return fixed{} }
	if err := cfg.Inject(specs...); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// asked is what a webhook was asked, and when, in order of arrival.
type asked struct {
	mu     sync.Mutex
	urls   []string
	bodies []string
	at     []time.Time
}

// answering records what is asked and answers by the event and how often its bytes
// came before. An empty answer is none within the window.
func (a *asked) answering(answer func(e telesign.Event, before int) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body bytes.Buffer
		_, _ = body.ReadFrom(r.Body)
		e, err := telesign.ParseEvent(body.Bytes())
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.mu.Lock()
		before := 0
		for _, b := range a.bodies {
			if b == body.String() {
				before++
			}
		}
		a.urls, a.bodies, a.at = append(a.urls, r.URL.String()), append(a.bodies, body.String()), append(a.at, time.Now())
		a.mu.Unlock()
		said := answer(e, before)
		if said == "" {
			<-r.Context().Done()
			return
		}
		_, _ = w.Write([]byte(said))
	})
}

// names is the events asked, in order.
func (a *asked) names(t *testing.T) string {
	t.Helper()
	var names []string
	for _, b := range a.bodies {
		e, err := telesign.ParseEvent([]byte(b))
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, string(e.Name))
	}
	return strings.Join(names, " ")
}

// speakOnce says something when the call is answered and hangs up after it.
func speakOnce(e telesign.Event, _ int) string {
	if e.Name == telesign.DialCompleted {
		return speak
	}
	return hangup
}

// What a fault delays is delayed by real time, at any speed, outside of the
// answer's time.
func TestDelayAndSlowRing(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault     string
		delays    []time.Duration // of the three events, in real time
		completed time.Duration   // by the call's clock
	}{
		{"delay=1:after=3s:event=speak_completed", []time.Duration{20 * time.Millisecond, 20*time.Millisecond + 3*second, 0}, 7 * second},
		{"slow-ring=1:after=3s", []time.Duration{20*time.Millisecond + 3*second, 20 * time.Millisecond, 0}, 7 * second},
	} {
		var a asked
		cfg := inject(t, tt.fault)
		cfg.Speed = 100
		l := live(t, cfg, a.answering(speakOnce), nil)
		began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // fake time begins
		for i, want := range tt.delays {
			if got := a.at[i].Sub(began); got != want {
				t.Errorf("%s: event %d came after %s, want %s", tt.fault, i, got, want)
			}
			began = a.at[i]
		}
		if got := l.total(); got != tt.completed || !l.report.Healthy() || l.report.Latency.Max != 0 {
			t.Errorf("%s: completed at %s, want %s\n%s", tt.fault, got, tt.completed, l.report)
		}
	}
}

// A person hangs up while an event is under way: call_completed overtakes it, and
// what it is answered matters to nobody.
func TestOvertaken(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		fault, events string
		person        fixed
		end           End
	}{
		{"overtaken=1:event=speak_completed:after=1s", "dial_completed call_completed speak_completed", fixed{}, EndPerson},
		{"overtaken=1:event=dial_completed:after=1s", "call_completed dial_completed", fixed{}, EndPerson},
		{"overtaken=1:after=1s", "call_completed dial_completed", fixed{outcome: Busy}, "busy"},
	} {
		var a asked
		l := live(t, inject(t, tt.fault), a.answering(func(e telesign.Event, before int) string {
			if e.Name == telesign.SpeakCompleted {
				return "" // no answer in the window
			}
			return speakOnce(e, before)
		}), func(_ *testing.T, s *Simulator) {
			s.people = func(CallInfo) Person { return tt.person }
			post(s, dialBody)
		})
		if got := a.names(t); got != tt.events || l.End != tt.end {
			t.Errorf("%s: %s, ended with %s, want %s, %s", tt.fault, got, l.End, tt.events, tt.end)
		}
		last := l.Exchanges[len(l.Exchanges)-1]
		if last.Name == telesign.CallCompleted || last.Executed || l.report.Ignored != 1 || l.report.Faults[FaultOvertaken] != 1 || !l.report.Healthy() {
			t.Errorf("%s: last %+v\n%s", tt.fault, last, l.report)
		}
	}
}

func TestLostCompleted(t *testing.T) {
	t.Parallel()
	var a asked
	l := live(t, inject(t, "lost-completed=1"), a.answering(speakOnce), nil)
	if got := a.names(t); got != "dial_completed speak_completed" || l.End != EndHangup || l.report.Faults[FaultLostCompleted] != 1 {
		t.Errorf("%s, ended with %s\n%s", got, l.End, l.report)
	}
}

// Both readings of a leg's events, and the one in the wrong order.
func TestLegEvents(t *testing.T) {
	t.Parallel()
	const bridge = `{"method":"dial","params":{"to":"15550001111","caller_id_number":"15554441313","external_id":"leg"}}`
	tests := []struct {
		specs  []string
		dialed string // the answer to the leg's dial_completed
		events string
		took   time.Duration
	}{
		{nil, "", "incoming_call; call_leg_completed hangup leg; speak_completed speak_successful; call_completed hangup", 22 * second},
		{[]string{"leg-not-answered=1"}, "", "incoming_call; call_leg_completed no_answer leg; speak_completed speak_successful; call_completed hangup", 7 * second},
		{[]string{"leg-events=dial-then-completed"}, "{}", "incoming_call; dial_completed answered leg; call_leg_completed hangup leg; speak_completed speak_successful; call_completed hangup", 22 * second},
		{[]string{"leg-events=dial-then-completed"}, speak, "incoming_call; dial_completed answered leg; speak_completed speak_successful; call_completed hangup", 7 * second},
		{[]string{"leg-events=dial-then-completed", "leg-not-answered=1"}, speak, "incoming_call; dial_completed no_answer leg; speak_completed speak_successful; call_completed hangup", 7 * second},
		{[]string{"leg-events=completed-then-dial"}, "{}", "incoming_call; call_leg_completed hangup leg; dial_completed answered leg; speak_completed speak_successful; call_completed hangup", 22 * second},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprint(tt.specs, tt.dialed), func(t *testing.T) {
			t.Parallel()
			var a asked
			l := live(t, inject(t, tt.specs...), a.answering(func(e telesign.Event, _ int) string {
				switch e.Name {
				case telesign.IncomingCall:
					return bridge
				case telesign.DialCompleted:
					return tt.dialed
				case telesign.CallLegCompleted:
					return speak
				default:
					return hangup
				}
			}), func(t *testing.T, s *Simulator) {
				if _, err := s.Incoming("15554441313", "15555551212"); err != nil {
					t.Error(err)
				}
			})
			var events []string
			for _, b := range a.bodies {
				e, err := telesign.ParseEvent([]byte(b))
				if err != nil {
					t.Fatal(err)
				}
				text := strings.TrimSpace(string(e.Name) + " " + e.Status)
				if e.To == "15550001111" {
					text += " " + e.ExternalID
				}
				events = append(events, text)
			}
			if got := strings.Join(events, "; "); got != tt.events || l.total() != tt.took || !l.report.Healthy() {
				t.Errorf("events\n got %s after %s\nwant %s after %s\n%s", got, l.total(), tt.events, tt.took, l.report)
			}
		})
	}
}

func TestReportOfFaults(t *testing.T) {
	t.Parallel()
	cfg := config()
	cfg.Examples = 1
	s := newSimulator(t, cfg)
	tell := s.tallies
	example := Example{
		Call: 7, ReferenceID: "ABC", Event: json.RawMessage(`{"event":"speak_completed","reference_id":"ABC","data":{}}`),
		Answer: hangup, Problem: "post 2 of the event was answered otherwise (at_once) than one before: {}",
	}
	tell.injected([]hit{{Fault: Fault{Kind: FaultDuplicate}}, {Fault: Fault{Kind: FaultDuplicate}}, {Fault: Fault{Kind: FaultDelay}}})
	tell.exchanged(verdict{event: telesign.SpeakCompleted, action: telesign.Speak{}, hold: true}, answer{latency: 2 * time.Millisecond}, Example{})
	tell.copied(answer{latency: time.Millisecond})
	tell.copied(answer{latency: time.Millisecond})
	tell.copied(answer{missed: "http_503"})
	tell.postedAgain()
	tell.copied(answer{lost: true, unread: true, latency: time.Hour})
	tell.copied(answer{missed: missedConnection, cut: true, unsent: true})
	first := tell.differs(differsAtOnce, example)
	if tell.differs(differsHold, example) || !first {
		t.Error("want the first example kept, and only it")
	}
	tell.unheard(verdict{event: telesign.DialCompleted}, answer{latency: time.Millisecond})
	tell.hold(true)
	tell.hold(false)
	tell.holdRow(2)
	tell.silence(9 * time.Second)
	r := s.Report()
	if r.Healthy() {
		t.Error("healthy, with copies answered differently")
	}
	golden(t, "testdata/report-faults.txt", []byte(r.String()))
	data, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/report-faults.json", append(data, '\n'))
}
