package simulator

import (
	"fmt"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// Fault is one thing that goes wrong now and then. Several of one kind may be
// given, each is drawn by itself. All its times are real time, whatever
// Config.Speed says.
type Fault struct {
	Kind FaultKind
	// Share is how often, from 0 to 1: of the events, requests, calls or holds that
	// the kind is about.
	Share float64
	// After is how long after; the kind says after what. Drawn evenly from the span.
	After Span
	// During is when it can happen, counted from Run's start. Zero: always.
	During Span
	// Event is the only event it happens to, for kinds about events. Empty: any.
	Event telesign.EventName
	// Copies is how many times FaultDuplicate posts the event again; 0 is 1.
	Copies int
	// Status is the HTTP status of FaultDial5xx and FaultDial5xxRings; 0 is 503.
	Status int
	// URL is where FaultSecondURL posts; http or https.
	URL string
}

// Span is a time between two, both included; a To below From is From.
type Span struct{ From, To time.Duration }

// FaultKind is what goes wrong, spelt as on the command line.
type FaultKind string

// The faults. The words of the command line; faultKinds says what each means.
const (
	FaultDuplicate       FaultKind = "duplicate"
	FaultSecondURL       FaultKind = "second-url"
	FaultDelay           FaultKind = "delay"
	FaultOvertaken       FaultKind = "overtaken"
	FaultLostCompleted   FaultKind = "lost-completed"
	FaultCutAfterAnswer  FaultKind = "cut-after-answer"
	FaultCutBeforeAnswer FaultKind = "cut-before-answer"

	FaultEarlyEvents    FaultKind = "early-events"
	FaultSlowRing       FaultKind = "slow-ring"
	FaultHangUpInHold   FaultKind = "hang-up-in-hold"
	FaultLegNotAnswered FaultKind = "leg-not-answered"

	FaultDial429          FaultKind = "dial-429"
	FaultDial5xx          FaultKind = "dial-5xx"
	FaultDial5xxRings     FaultKind = "dial-5xx-rings"
	FaultDialTimeout      FaultKind = "dial-timeout"
	FaultDialTimeoutRings FaultKind = "dial-timeout-rings"
)

// The options that a kind may take, by their words.
const (
	optionAfter  = "after"
	optionDuring = "during"
	optionEvent  = "event"
	optionCopies = "copies"
	optionStatus = "status"
	optionURL    = "url"
)

// faultKind is what there is to know of a kind: what it means, the options it
// takes besides during, and the one it cannot do without.
type faultKind struct {
	kind    FaultKind
	meaning string
	options []string
	needs   string
}

// faultKinds is every kind, in the order in which they are listed.
func faultKinds() []faultKind {
	return []faultKind{
		{FaultDuplicate, "an event is posted COPIES more times (1), AFTER it first went out (0s)", []string{optionCopies, optionAfter, optionEvent}, ""},
		{FaultSecondURL, "an event is posted to URL too, AFTER it went out (0s)", []string{optionURL, optionAfter, optionEvent}, optionURL},
		{FaultDelay, "an event goes out AFTER it happened", []string{optionAfter, optionEvent}, optionAfter},
		{FaultOvertaken, "the person hangs up while an event is under way, which comes AFTER call_completed (0s: at once)", []string{optionAfter, optionEvent}, ""},
		{FaultLostCompleted, "call_completed is never posted", nil, ""},
		{FaultCutAfterAnswer, "the connection is reset once the answer has been read", []string{optionEvent}, ""},
		{FaultCutBeforeAnswer, "the connection is reset and the answer counts as none: AFTER the event went out, or when the answer is there", []string{optionAfter, optionEvent}, ""},
		{FaultEarlyEvents, "the person picks up at once, and the first event comes before the 202", nil, ""},
		{FaultSlowRing, "it rings for AFTER longer", []string{optionAfter}, optionAfter},
		{FaultHangUpInHold, "the person hangs up in the middle of a hold", nil, ""},
		{FaultLegNotAnswered, "nobody picks up the leg of a dial that answers an event", nil, ""},
		{FaultDial429, "POST /v2/voice is answered 429 rate_limit_exceeded", nil, ""},
		{FaultDial5xx, "POST /v2/voice is answered with STATUS (503), and it does not ring", []string{optionStatus}, ""},
		{FaultDial5xxRings, "POST /v2/voice is answered with STATUS (503), and it rings", []string{optionStatus}, ""},
		{FaultDialTimeout, "POST /v2/voice is not answered, the connection closed AFTER it (30s), and it does not ring", []string{optionAfter}, ""},
		{FaultDialTimeoutRings, "POST /v2/voice is not answered, the connection closed AFTER it (30s), and it rings", []string{optionAfter}, ""},
	}
}

func (k faultKind) takes(option string) bool {
	return option == optionDuring || slices.Contains(k.options, option)
}

const (
	mostCopies        = 100
	dialTimeoutHolds  = 30 * time.Second // of FaultDialTimeout without After
	statusUnavailable = http.StatusServiceUnavailable
)

// lookUp is the entry of a kind.
func (k FaultKind) lookUp() (faultKind, error) {
	var words []string
	for _, known := range faultKinds() {
		if known.kind == k {
			return known, nil
		}
		words = append(words, string(known.kind))
	}
	return faultKind{}, fmt.Errorf("no fault is called %q; there are %s", string(k), strings.Join(words, ", "))
}

// validate names what cannot work.
func (f Fault) validate() error {
	kind, err := f.Kind.lookUp()
	if err != nil {
		return err
	}
	given := map[string]bool{
		optionAfter: f.After != Span{}, optionEvent: f.Event != "", optionCopies: f.Copies != 0,
		optionStatus: f.Status != 0, optionURL: f.URL != "",
	}
	for _, option := range []string{optionAfter, optionEvent, optionCopies, optionStatus, optionURL} {
		if given[option] && !kind.takes(option) {
			return fmt.Errorf("%s takes no %s", f.Kind, option)
		}
	}
	if kind.needs != "" && !given[kind.needs] {
		return fmt.Errorf("%s needs %s", f.Kind, kind.needs)
	}
	if !(f.Share >= 0 && f.Share <= 1) { // also refuses NaN
		return fmt.Errorf("%s has a share of %v, want 0 to 1", f.Kind, f.Share)
	}
	if f.After.From < 0 {
		return fmt.Errorf("%s has after=%s, want 0s or more", f.Kind, f.After.From)
	}
	if f.During.From < 0 || f.During != (Span{}) && f.During.To <= f.During.From {
		return fmt.Errorf("%s has during=%s..%s, want a later time after an earlier one", f.Kind, f.During.From, f.During.To)
	}
	if f.Copies < 0 || f.Copies > mostCopies {
		return fmt.Errorf("%s has copies=%d, want 1 to %d", f.Kind, f.Copies, mostCopies)
	}
	if f.Status != 0 && (f.Status < 500 || f.Status > 599) {
		return fmt.Errorf("%s has status=%d, want 500 to 599", f.Kind, f.Status)
	}
	if f.Event != "" && !f.Event.Known() && !strings.HasSuffix(string(f.Event), "_completed") {
		return fmt.Errorf("%s has event=%s, want an event's name", f.Kind, f.Event)
	}
	if f.URL != "" {
		if u, err := url.Parse(f.URL); err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
			return fmt.Errorf("%s has url=%s, want an http or https URL", f.Kind, f.URL)
		}
	}
	return nil
}

// draw is a time of the span, by a number from [0, 1).
func (s Span) draw(chance float64) time.Duration {
	if s.To <= s.From {
		return s.From
	}
	return s.From + time.Duration(math.Floor(chance*float64(s.To-s.From+1)))
}
