package simulator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// Words TeleSign is not known to have, or not for this.
const (
	statusHangup             = "hangup" // of call_completed; seen
	statusSendDTMFSuccessful = "send_dtmf_successful"
)

// call is one call. Its goroutine alone touches it, from live on.
type call struct {
	sim         *Simulator
	info        CallInfo
	referenceID string
	longest     time.Duration // from pickup
	person      Person
	outcome     Outcome // of the dial; Answered for incoming calls
	prompts     int

	// The call's own clock; see the package documentation, Time.
	created  time.Time
	elapsed  time.Duration
	answered time.Duration // when, by elapsed
	open     bool          // somebody has picked up

	end       End        // why the call is over, empty while it is not
	exchanges []Exchange // only with KeepTranscripts

	deliveries []*delivery     // those with posts whose results have not been read
	events     int             // posted, or about to be
	early      chan struct{}   // closed when the first event has its answer; nil unless the 202 waits for it
	heard      bool            // early is closed
	leg        bool            // the person talks to somebody else
	trailing   *telesign.Event // posted after the next event's answer, which is executed instead

	// What has been counted so far, to draw faults by.
	ordinary, afterHolds, holds, legs int

	afterHold bool // the action under way is a hold
	row       int  // holds in a row, up to now
	held      bool // there was a hold
}

func (s *Simulator) newCall(direction string, d telesign.Dial) *call {
	return &call{
		sim:         s,
		info:        CallInfo{Direction: direction, To: d.To, From: d.CallerIDNumber, ExternalID: d.ExternalID},
		referenceID: newReferenceID(),
		longest:     cmp.Or(d.MaxCallDuration, telesign.MaxCallDuration),
		outcome:     Answered,
	}
}

// live lives the call, from ringing to call_completed.
func (c *call) live() {
	c.person = c.sim.people(c.info)
	c.created = time.Now()
	for e, ok := c.begin(); ok; {
		e, ok = c.step(e)
	}
	c.heardFirst()
	c.complete()
	c.endRow()
	c.settle(true)
	c.sim.release(c, c.end)
}

// begin rings, and returns the call's first event. Not ok: the call is over.
func (c *call) begin() (e telesign.Event, ok bool) {
	if c.info.Direction == Inbound {
		return c.event(telesign.IncomingCall), true
	}
	p := c.person.PickUp()
	c.outcome = p.Outcome
	if c.early != nil {
		p.Ring = 0
	}
	if !c.pass(p.Ring) {
		return e, false
	}
	for _, h := range c.hits(ofCall, 0, FaultSlowRing) {
		if !c.pause(h.after) {
			c.end = EndShutdown
			return e, false
		}
	}
	if p.Outcome == Answered {
		c.pickUp()
	}
	e = c.event(telesign.DialCompleted)
	e.Status = string(p.Outcome)
	return e, true
}

// step posts one event, executes the answer and returns the next event. Not ok:
// the call is over.
func (c *call) step(e telesign.Event) (next telesign.Event, ok bool) {
	action, ok := c.ask(e)
	if !ok {
		return next, false
	}
	return c.execute(action)
}

// ask posts one event and returns the answer to execute. Not ok: the call is over.
func (c *call) ask(e telesign.Event) (action telesign.Action, ok bool) {
	p := c.planned(e)
	if p.overtaken {
		c.aside(e, p)
		if c.end = EndPerson; c.outcome != Answered {
			c.end = End(c.outcome)
		}
		return nil, false
	}
	action, v := c.post(e, p)
	c.heardFirst()
	if c.trailing != nil {
		c.aside(*c.trailing, plan{})
		c.trailing = nil
	}
	switch {
	case c.end != "": // before the answer could matter
		return nil, false
	case c.sim.lines.Err() != nil:
		c.end = EndShutdown
		return nil, false
	case v.lost:
		c.end = EndLost
		return nil, false
	case v.missed != "":
		c.end = EndMissed
		return nil, false
	case v.invalid != "":
		c.end = EndInvalid
		return nil, false
	}
	c.count(v)
	return action, true
}

// heardFirst lets a 202 go that waits for the call's first event.
func (c *call) heardFirst() {
	if c.early != nil && !c.heard {
		c.heard = true
		close(c.early)
	}
}

// execute does what an answer asks for. A valid answer can be executed: see judge.
func (c *call) execute(action telesign.Action) (next telesign.Event, ok bool) {
	if c.outcome != Answered {
		c.end = End(c.outcome)
		return next, false
	}
	if action.Method() == telesign.MethodHangup {
		c.end = EndHangup
		return next, false
	}
	c.pickUp()
	if d, bridged := action.(telesign.Dial); bridged {
		return c.bridge(d)
	}
	status, collect := c.success(action), c.sim.cfg.Assume.collection(action)
	h := heard{took: leastSound}
	if word := c.failure(action); word != "" {
		status, collect = word, nil
	} else {
		c.prompts++
		length := c.sim.cfg.soundLength(action)
		h = c.sim.cfg.Assume.listen(length, collect, c.react(Prompt{Number: c.prompts, Action: action, Length: length, Collect: collect}))
	}
	if !c.pass(h.took) {
		return next, false
	}
	if h.hungUp {
		c.end = EndPerson
		if !c.sim.cfg.Assume.CompletePrompt {
			return next, false
		}
	}
	next = c.event(c.completion(action))
	next.Status = status
	if collect != nil {
		next.Digits = h.digits
		if h.digits == "" {
			next.ExtraData = c.sim.cfg.Assume.noDigits()
		}
	}
	return next, true
}

// completion names the event after an action.
func (c *call) completion(action telesign.Action) telesign.EventName {
	switch action.Method() {
	case telesign.MethodPlay:
		return telesign.PlayCompleted
	case telesign.MethodPlayMultiple:
		return c.sim.cfg.Assume.PlayMultipleCompleted
	case telesign.MethodSendDTMF:
		return c.sim.cfg.Assume.SendDTMFCompleted
	case telesign.MethodDial:
		return telesign.CallLegCompleted
	case telesign.MethodHangup:
		return telesign.CallCompleted
	case telesign.MethodSpeak:
	}
	return telesign.SpeakCompleted
}

// success is the status of the event after an action that went well.
func (c *call) success(action telesign.Action) string {
	switch action.Method() {
	case telesign.MethodPlay, telesign.MethodPlayMultiple:
		return telesign.StatusPlaySuccessful
	case telesign.MethodSendDTMF:
		return statusSendDTMFSuccessful
	case telesign.MethodDial, telesign.MethodHangup:
		return statusHangup
	case telesign.MethodSpeak:
	}
	return telesign.StatusSpeakSuccessful
}

// failure is the status of the event after an action that cannot go well, empty
// when it can: audio that is broken, a leg to a number that is blocked.
func (c *call) failure(action telesign.Action) string {
	var urls []string
	switch a := action.(type) {
	case telesign.Play:
		urls = []string{a.URL}
	case telesign.PlayMultiple:
		urls = a.URLs
	case telesign.Dial:
		return string(c.sim.refuse(a, c.info.From))
	}
	for _, prefix := range c.sim.cfg.BrokenAudio {
		if slices.ContainsFunc(urls, func(url string) bool { return strings.HasPrefix(url, prefix) }) {
			return c.sim.cfg.Assume.PlayFailed
		}
	}
	return ""
}

// complete posts call_completed.
func (c *call) complete() {
	e := c.event(telesign.CallCompleted)
	e.Direction = c.info.Direction
	e.Status = statusHangup
	switch {
	case c.end == EndInvalid:
		e.Status = string(telesign.UnsupportedCallState)
	case c.outcome != Answered:
		e.Status = string(c.outcome)
	}
	if c.open && c.sim.cfg.Recordings {
		e.AudioRecordingFileName = fmt.Sprintf("%s_%d.wav", c.referenceID, c.created.Unix())
	}
	c.clock(&e, 0, c.answered, c.open)
	if len(c.hits(ofCompleted, 0, FaultLostCompleted)) > 0 {
		return
	}
	c.post(e, c.planned(e))
}

// event is an event of this call with what all have in common.
func (c *call) event(name telesign.EventName) telesign.Event {
	e := telesign.Event{Name: name, ReferenceID: c.referenceID, ExternalID: c.info.ExternalID, To: c.info.To, From: c.info.From}
	if c.sim.cfg.Assume.ExternalIDOnce && name != telesign.DialCompleted {
		e.ExternalID = ""
	}
	return e
}

// clock gives an event the times of a call or leg that ends now, in UTC and whole
// milliseconds.
func (c *call) clock(e *telesign.Event, created, answered time.Duration, open bool) {
	at := func(d time.Duration) time.Time { return c.created.Add(d).UTC().Truncate(time.Millisecond) }
	e.CreatedOn, e.EndedOn = at(created), at(c.elapsed)
	if open {
		e.AnsweredOn = at(answered)
	}
	e.Duration = int(e.EndedOn.Sub(e.CreatedOn) / time.Second)
}

func (c *call) pickUp() {
	if !c.open {
		c.open, c.answered = true, c.elapsed
	}
}

// pass lets time go by on the call's clock, compressed in reality. False: the call
// is over, because the simulator stops or no call may be longer.
func (c *call) pass(d time.Duration) bool {
	d, tooLong := max(0, d), false
	if left := c.answered + c.longest - c.elapsed; c.open && d >= left {
		d, tooLong = max(0, left), true
	}
	began := time.Now()
	timer := time.NewTimer(time.Duration(float64(d) / c.sim.cfg.Speed))
	defer timer.Stop()
	select {
	case <-timer.C:
		c.elapsed += d
		if tooLong {
			c.end = EndMaxDuration
		}
		return !tooLong
	case <-c.sim.lines.Done():
		c.elapsed += min(d, time.Duration(float64(time.Since(began))*c.sim.cfg.Speed))
		c.end = EndShutdown
		return false
	}
}

// pause lets real time go by, whatever Speed says. False: the simulator stops.
func (c *call) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	began := time.Now()
	timer := time.NewTimer(d)
	defer timer.Stop()
	defer func() { c.elapsed += time.Since(began) }()
	select {
	case <-timer.C:
		return true
	case <-c.sim.lines.Done():
		return false
	}
}

func (c *call) transcript(end End) Transcript {
	slices.SortStableFunc(c.exchanges, func(x, y Exchange) int {
		return cmp.Or(x.Sent.Compare(y.Sent), cmp.Compare(x.number, y.number), cmp.Compare(x.Copy, y.Copy))
	})
	return Transcript{CallInfo: c.info, ReferenceID: c.referenceID, End: end, Exchanges: c.exchanges}
}

// noDigits spells the absence of digits as the assumption wants.
func (a Assumptions) noDigits() map[string]json.RawMessage {
	switch a.NoDigits {
	case NoDigitsNull:
		return map[string]json.RawMessage{"collected_digits": json.RawMessage("null")}
	case NoDigitsAbsent:
		return nil
	case NoDigitsEmpty:
	}
	return map[string]json.RawMessage{"collected_digits": json.RawMessage(`""`)}
}
