package webhook

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// TestARowOfHolds holds one call again and again, as TeleSign would post: the
// prompts get longer, then comes the apology, then the end.
func TestARowOfHolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDoor(t, Config{}, &fakeBus{script: script{reply: holds}})
		last := map[int]time.Duration{0: 2 * time.Second, secondHoldBreaks: 5 * time.Second, laterHoldBreaks: 10 * time.Second}
		want := []messages.ToldAnswer{}
		var told []messages.ToldAnswer
		var heard []string
		began := time.Now()
		event := incoming
		for len(told) == 0 || told[len(told)-1] != messages.ToldHangup {
			if len(told) > 20 {
				t.Fatalf("held for ever: %v", told)
			}
			switch since := time.Since(began); {
			case len(told) > 0 && told[len(told)-1] == messages.ToldApology:
				want = append(want, messages.ToldHangup)
			case since >= 90*time.Second:
				want = append(want, messages.ToldApology)
			default:
				want = append(want, messages.ToldHold)
			}
			w := d.post(signed(t, event))
			report, err := messages.ParseTold(d.bus.told[len(d.bus.told)-1].Body)
			if err != nil || w.Code != 200 {
				t.Fatalf("status %d, %v", w.Code, err)
			}
			told = append(told, report.Answer)
			heard = append(heard, w.Body.String())
			var says struct {
				Params struct{ TTS struct{ Message string } }
			}
			if err := json.Unmarshal(w.Body.Bytes(), &says); err != nil {
				t.Fatal(err)
			}
			<-time.After(last[strings.Count(says.Params.TTS.Message, telesign.Break)]) // as long as the prompt lasts, on synctest's clock
			event = `{"event":"speak_completed","reference_id":"534e1848-235f-482d-983d-e3e11a04f58a","data":{}}`
		}
		if fmt.Sprint(told) != fmt.Sprint(want) || len(told) != 13 {
			t.Errorf("told %v\nwant %v, 13 of them", told, want)
		}
		if !strings.Contains(heard[0], `"One moment, please."`) || !strings.Contains(heard[11], "We are sorry") || !strings.Contains(heard[12], `"hangup"`) {
			t.Errorf("heard %q", heard)
		}
		for answer, n := range map[messages.ToldAnswer]float64{messages.ToldHold: 11, messages.ToldApology: 1, messages.ToldHangup: 1} {
			if got := d.metric(t, "offhook_webhook_told_total", "answer="+string(answer)); got != n {
				t.Errorf("%v told %s, want %v", got, answer, n)
			}
		}
		if got := d.metric(t, "offhook_webhook_holds_total"); got != 11 {
			t.Errorf("%v holds, want 11", got)
		}
	})
}

// TestTheEndOfARow: a decision, the call's end and a time without holds each begin
// a new one.
func TestTheEndOfARow(t *testing.T) {
	t.Parallel()
	for name, between := range map[string]func(t *testing.T, d *door){
		"decision": func(t *testing.T, d *door) {
			t.Helper()
			d.bus.script.reply = decided
			d.post(signed(t, incoming))
			d.bus.script.reply = holds
		},
		"call_completed": func(t *testing.T, d *door) {
			t.Helper()
			d.post(signed(t, strings.Replace(incoming, "incoming_call", "call_completed", 1)))
		},
		"time": func(*testing.T, *door) { <-time.After(rowIdle) }, // on synctest's clock
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d := newDoor(t, Config{}, &fakeBus{script: script{reply: holds}})
				first := d.post(signed(t, incoming)).Body.String()
				if copied := d.post(signed(t, incoming)).Body.String(); copied != first {
					t.Errorf("a copy heard %s, want what the first heard, %s", copied, first)
				}
				<-time.After(rowCopy)
				if second := d.post(signed(t, incoming)).Body.String(); second == first {
					t.Errorf("the second hold is the first: %s", first)
				}
				between(t, d)
				if got := d.post(signed(t, incoming)).Body.String(); got != first {
					t.Errorf("heard %s, want a first hold", got)
				}
			})
		})
	}
}

// TestRows: calls do not share a row, what does not hold is not in one, and the
// memory is bounded.
func TestRows(t *testing.T) {
	t.Parallel()
	now := time.Now()
	r := newRows(time.Minute)
	r.size = 100
	if a, b, c := r.next("a", now.Add(-rowCopy)), r.next("a", now), r.next("b", now); a != firstHold || b != secondHold || c != firstHold {
		t.Errorf("turns %v %v %v", a, b, c)
	}
	for i := range 10_000 {
		r.next(fmt.Sprint(i), now)
		if n := len(r.young) + len(r.old); n > 2*r.size {
			t.Fatalf("%d rows are remembered", n)
		}
	}
	if got := r.next("9999", now.Add(rowCopy)); got != secondHold {
		t.Errorf("the newest row is forgotten: %v", got)
	}
	if got := r.next("a", now); got != firstHold {
		t.Errorf("the oldest row is remembered: %v", got)
	}
	// A row lives from one generation into the next.
	for i := range 5 {
		now = now.Add(rowIdle - time.Second)
		if got := r.next("a", now); got != []turn{secondHold, apology, theEnd, theEnd, theEnd}[i] {
			t.Errorf("after %d: %v", i, got)
		}
	}
	r.end("a")
	if got := r.next("a", now); got != firstHold {
		t.Errorf("after the end: %v", got)
	}
}

// TestPrefixes: the longest prefix of either number, of the called one on a tie;
// what a group's prompts leave out is that of everybody.
func TestPrefixes(t *testing.T) {
	t.Parallel()
	cfg := Config{Holds: []Hold{
		{Prefix: "49", Language: "de-DE", Text: "Einen Moment, bitte.", Apology: "Auf Wiederhören."},
		{Prefix: "4930", Language: "de-DE", Text: "Een Momang."},
		{Prefix: "44", Text: "One moment, if you please."},
	}}.WithDefaults()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	f, err := newFallbacks(cfg)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		to, from          string
		hold, lang, sorry string
	}{
		"nobody's":       {"33123456", "34123456", "One moment, please.", "en-US", cfg.ApologyText},
		"none":           {"", "", "One moment, please.", "en-US", cfg.ApologyText},
		"called":         {"4989123", "33123456", "Einen Moment", "de-DE", "Auf Wiederhören."},
		"calling":        {"33123456", "4989123", "Einen Moment", "de-DE", "Auf Wiederhören."},
		"longer":         {"4989123", "4930123", "Een Momang.", "de-DE", cfg.ApologyText},
		"tie":            {"4412345", "4989123", "if you please", "en-US", cfg.ApologyText},
		"tie, the other": {"4989123", "4412345", "Einen Moment", "de-DE", "Auf Wiederhören."},
		"with +":         {"+4989123", "", "Einen Moment", "de-DE", "Auf Wiederhören."},
		"the prefix":     {"49", "", "Einen Moment", "de-DE", "Auf Wiederhören."},
		"half of it":     {"4", "493", "Einen Moment", "de-DE", "Auf Wiederhören."},
	} {
		p := f.prompts(telesign.Event{To: c.to, From: c.from})
		for due := firstHold; due < apology; due++ {
			if got := string(p[due]); !strings.Contains(got, c.hold) || !strings.Contains(got, c.lang) {
				t.Errorf("%s: %v is %s", name, due, got)
			}
		}
		if got := string(p[apology]); !strings.Contains(got, c.sorry) {
			t.Errorf("%s: the apology is %s", name, got)
		}
	}
	cfg.Holds = []Hold{{Text: "Für alle."}}
	if f, err = newFallbacks(cfg.WithDefaults()); err != nil || !strings.Contains(string(f.prompts(telesign.Event{To: "1"})[firstHold]), "Für alle.") {
		t.Errorf("the empty prefix: %v", err)
	}
}

// TestSSMLPrompts: text and SSML are lengthened to what TeleSign can say.
func TestSSMLPrompts(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`Fish & "chips"`, `<speak>Fish &amp; <break/>chips</speak>`} {
		p, err := newPrompts(Config{}.WithDefaults(), Hold{Text: text})
		if err != nil {
			t.Fatal(err)
		}
		for due, breaks := range map[turn]int{firstHold: 0, secondHold: secondHoldBreaks, laterHold: laterHoldBreaks} {
			action, err := telesign.ParseAction(p[due])
			if err != nil {
				t.Fatal(err)
			}
			says, ok := action.(telesign.Speak)
			if !ok || says.Validate() != nil || strings.Count(says.Message, telesign.Break) != breaks {
				t.Errorf("%s, %v: %+v", text, due, action)
			}
		}
	}
}

// TestNoHoldAfterTheApology keeps fallbacks that hold nobody as they are, also in
// a row that is over.
func TestNoHoldAfterTheApology(t *testing.T) {
	t.Parallel()
	synctest.Test(t, noHoldAfterTheApology)
}

func noHoldAfterTheApology(t *testing.T) {
	t.Helper()
	d := newDoor(t, Config{HoldFor: time.Nanosecond}, &fakeBus{script: script{reply: holds}})
	const call = `"reference_id":"BC96D7B0"`
	for i, c := range []struct{ event, want string }{
		{"incoming_call", "One moment"},
		{"conference_joined", "{}"},
		{"speak_completed", "We are sorry"},
		{"conference_joined", "{}"},
		{"speak_completed", "hangup"},
		{"speak_completed", "hangup"},
	} {
		<-time.After(rowCopy) // on synctest's clock
		w := httptest.NewRecorder()
		d.serve(context.Background(), w, signed(t, `{"event":"`+c.event+`",`+call+`}`))
		if !strings.Contains(w.Body.String(), c.want) {
			t.Errorf("%d, %s: %s, want %s", i, c.event, w.Body, c.want)
		}
	}
}
