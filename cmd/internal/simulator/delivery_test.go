package simulator

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
)

// A hundred copies at once: a hundred and one posts of the same bytes, one of the
// answers executed.
func TestDuplicateAtOnce(t *testing.T) {
	t.Parallel()
	var a asked
	l := live(t, inject(t, "duplicate=100%:copies=100:event=speak_completed"), a.answering(speakOnce), nil)
	posts, executed := 0, 0
	for _, x := range l.Exchanges {
		if x.Name != telesign.SpeakCompleted {
			continue
		}
		if x.Copy != posts {
			t.Errorf("post %d of the event is marked as copy %d", posts, x.Copy)
		}
		posts++
		if x.Executed {
			executed++
		}
	}
	same := 0
	for i, b := range a.bodies {
		if b == a.bodies[1] {
			same++
			if !a.at[i].Equal(a.at[1]) {
				t.Errorf("post %d came %s after the first", i, a.at[i].Sub(a.at[1]))
			}
		}
	}
	r := l.report
	if posts != 101 || same != 101 || executed != 1 || l.End != EndHangup {
		t.Errorf("%d posts, %d of the same bytes, %d executed, ended with %s", posts, same, executed, l.End)
	}
	want := Copies{Posted: 100, Answered: 100, Missed: map[string]int{}, Different: Problems{By: map[string]int{}, Examples: []Example{}}}
	if diff := cmp.Diff(want, r.Copies); diff != "" || !r.Healthy() || r.Faults[FaultDuplicate] != 1 || r.Events[telesign.SpeakCompleted] != 1 {
		t.Errorf("the report says otherwise (-want +got):\n%s\n%s", diff, r)
	}
}

// A copy that comes late is posted while the call goes on, even after its end, and
// its answer is only compared.
func TestDuplicateLater(t *testing.T) {
	t.Parallel()
	var a asked
	l := live(t, inject(t, "duplicate=1:copies=2:after=1s..3s:event=dial_completed"), a.answering(speakOnce), nil)
	if l.End != EndHangup || !l.report.Healthy() || l.report.Copies.Answered != 2 {
		t.Errorf("ended with %s\n%s", l.End, l.report)
	}
	var after []time.Duration
	for i, b := range a.bodies {
		if i > 0 && b == a.bodies[0] {
			after = append(after, a.at[i].Sub(a.at[0]))
		}
	}
	if len(after) != 2 || slices.Min(after) < second || slices.Max(after) > 3*second || after[0] == after[1] {
		t.Errorf("the copies came after %v, want two times between 1s and 3s", after)
	}
}

func TestCopiesAnsweredDifferently(t *testing.T) {
	t.Parallel()
	const other = `{"method":"speak","params":{"tts":{"message":"Goodbye."}}}`
	tests := []struct {
		name, fault, first, second string
		by                         string // "": the same
	}{
		{"at once", "duplicate=1:event=dial_completed", speak, other, "at_once"},
		{"later", "duplicate=1:after=1s:event=dial_completed", speak, other, "later"},
		{"a hold instead", "duplicate=1:event=dial_completed", speak, holding, "hold"},
		{"a hold at first", "duplicate=1:event=dial_completed", longHold, speak, "hold"},
		{"no action instead", "duplicate=1:event=dial_completed", speak, "{}", "at_once"},
		{"no JSON", "duplicate=1:event=dial_completed", speak, "?", "at_once"},
		{"otherwise written", "duplicate=1:event=dial_completed", `{"method":"hangup"}`, "[" + hangup + "]", ""},
		{"call_completed is ignored", "duplicate=1:event=call_completed", "{}", speak, ""},
		{"again after a cut", "cut-before-answer=1:event=dial_completed", speak, other, "later"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := inject(t, tt.fault, "post-again=1")
			var a asked
			about := cfg.Faults[0].Event
			l := live(t, cfg, a.answering(func(e telesign.Event, before int) string {
				switch {
				case e.Name != about:
					return hangup
				case before == 0:
					return tt.first
				}
				<-time.After(time.Millisecond) // fake: the second answer comes second
				return tt.second
			}), nil)
			d := l.report.Copies.Different
			if tt.by == "" {
				if d.Count != 0 || !l.report.Healthy() || l.report.Copies.Posted != 1 {
					t.Errorf("counted as different:\n%s", l.report)
				}
				return
			}
			if d.Count != 1 || d.By[tt.by] != 1 || l.report.Healthy() || l.report.Invalid.Count+l.report.Missed.Count != 0 {
				t.Errorf("counted %+v, want 1 %s:\n%s", d, tt.by, l.report)
			}
			if len(d.Examples) != 1 || d.Examples[0].Answer != tt.second || string(d.Examples[0].Event) != a.bodies[0] ||
				!strings.Contains(d.Examples[0].Problem, " of the event was answered otherwise ("+tt.by+") than one before: ") {
				t.Errorf("examples %+v", d.Examples)
			}
		})
	}
}

// The first answer that arrives is executed, the event's own or a copy's; what the
// others come to is no miss.
func TestFirstAnswerIsExecuted(t *testing.T) {
	t.Parallel()
	for name, slow := range map[string]time.Duration{"slow": 3 * second, "never": time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var a asked
			l := live(t, inject(t, "duplicate=1:after=500ms:event=dial_completed"), a.answering(func(e telesign.Event, before int) string {
				if e.Name == telesign.DialCompleted && before == 0 {
					<-time.After(min(slow, 6*second))
				}
				return hangup
			}), nil)
			missed := 0
			if name == "never" {
				missed = 1
			}
			r := l.report
			if l.End != EndHangup || r.Missed.Count != 0 || r.Copies.Posted != 1 || r.Copies.Missed[missedWindow] != missed || r.Copies.Answered != 1-missed {
				t.Errorf("ended with %s\n%s", l.End, r)
			}
			for _, x := range l.Exchanges {
				if x.Name == telesign.DialCompleted && x.Executed != (x.Copy == 1) {
					t.Errorf("executed: %+v", x)
				}
			}
			if at := l.Exchanges[len(l.Exchanges)-1].At; at != 2500*time.Millisecond {
				t.Errorf("the call ended at %s, want half a second after 2s", at)
			}
		})
	}
}

func TestSecondURL(t *testing.T) {
	t.Parallel()
	var a asked
	const second = "http://second.test:8081/telesign/events?x=a:b"
	l := live(t, inject(t, "second-url=100%:url="+second), a.answering(func(e telesign.Event, before int) string {
		<-time.After(time.Millisecond) // fake: both posts have come before the call goes on
		return speakOnce(e, before)
	}), nil)
	byURL := make(map[string][]string)
	for i, url := range a.urls {
		byURL[url] = append(byURL[url], a.bodies[i])
	}
	if len(byURL[second]) != 3 || !cmp.Equal(byURL[second], byURL["http://webhook.test/telesign/events"]) {
		t.Errorf("posted:\n%v", byURL)
	}
	if !l.report.Healthy() || l.report.Copies.Posted != 3 || l.report.Faults[FaultSecondURL] != 3 {
		t.Errorf("reported:\n%s", l.report)
	}
}

// An event without an answer is posted again, the same bytes, or the call is hung
// up: TeleSign's rule is not known.
func TestPostAgain(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		specs    []string
		answered int // of the posts of dial_completed, counted from 1
		posts    int
		end      End
		missed   int
		total    time.Duration
		silence  float64 // seconds
	}{
		{"hang up", nil, 2, 1, EndMissed, 1, 7 * second, 5},
		{"second", []string{"post-again=2:after=1s"}, 2, 2, EndHangup, 1, 8 * second, 6},
		{"third", []string{"post-again=2:after=1s"}, 3, 3, EndHangup, 1, 14 * second, 12},
		{"never", []string{"post-again=2:after=1s"}, 4, 3, EndMissed, 1, 19 * second, 17},
		{"lost, hang up", []string{"cut-before-answer=1:event=dial_completed"}, 1, 1, EndLost, 0, 2 * second, 0},
		{"lost, again", []string{"cut-before-answer=1:event=dial_completed", "post-again=1:after=1s"}, 1, 2, EndHangup, 0, 3 * second, 1},
		{"lost before the answer", []string{"cut-before-answer=1:event=dial_completed:after=2s", "post-again=1:after=1s"}, 2, 2, EndHangup, 0, 5 * second, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var a asked
			l := live(t, inject(t, tt.specs...), a.answering(func(e telesign.Event, before int) string {
				if e.Name == telesign.DialCompleted && before+1 < tt.answered {
					return ""
				}
				return hangup
			}), nil)
			r := l.report
			if l.End != tt.end || r.Missed.Count != tt.missed || l.total() != tt.total || r.Silence != tt.silence*1000 {
				t.Errorf("ended with %s after %s, silent for %gms, want %s after %s, %gs\n%s", l.End, l.total(), r.Silence, tt.end, tt.total, tt.silence, r)
			}
			for i := range tt.posts {
				if a.bodies[i] != a.bodies[0] {
					t.Errorf("post %d has other bytes", i+1)
				}
			}
			if len(a.bodies) != tt.posts+1 || r.Copies.Posted != tt.posts-1 || r.Copies.Again != tt.posts-1 || r.Events[telesign.DialCompleted] != 1 {
				t.Errorf("%d events were posted, want %d\n%s", len(a.bodies), tt.posts+1, r)
			}
		})
	}
}

// When the simulator stops, copies that are not due are not posted, and nobody
// waits for them.
func TestStoppingForgetsCopies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a asked
		cfg := inject(t, "duplicate=1:copies=3:after=1h", "overtaken=1:after=1h:event=speak_completed")
		cfg.Transport = inProcess{a.answering(speakOnce)}
		s := newSimulator(t, cfg)
		stop := start(t, s)
		post(s, dialBody)
		<-time.After(time.Minute) // fake: the call is over but for its copies
		if live := s.Report().Calls.Live; live != 1 {
			t.Errorf("%d calls are live, want the one with copies to come", live)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if r := s.Report(); r.Copies.Posted != 0 || r.Calls.Live != 0 || !r.Healthy() || r.Ignored != 0 {
			t.Errorf("reported:\n%s", r)
		}
		if got := a.names(t); got != "dial_completed call_completed" {
			t.Errorf("posted %s", got)
		}
	})
}
