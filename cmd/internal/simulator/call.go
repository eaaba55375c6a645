package simulator

import (
	"cmp"
	"encoding/json"
	"errors"
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
	c.complete()
	c.sim.release(c, c.end)
}

// begin rings, and returns the call's first event. Not ok: the call is over.
func (c *call) begin() (e telesign.Event, ok bool) {
	if c.info.Direction == Inbound {
		return c.event(telesign.IncomingCall), true
	}
	p := c.person.PickUp()
	c.outcome = p.Outcome
	if !c.pass(p.Ring) {
		return e, false
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
	action, v := c.post(e)
	switch {
	case c.end != "": // before the answer could matter
		return next, false
	case c.sim.lines.Err() != nil:
		c.end = EndShutdown
		return next, false
	case v.missed != "":
		c.end = EndMissed
		return next, false
	case v.invalid != "":
		c.end = EndInvalid
		return next, false
	}
	return c.execute(action)
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
	began := c.elapsed
	status, collect := c.success(action), c.sim.cfg.Assume.collection(action)
	h := heard{took: leastSound}
	if word := c.failure(action); word != "" {
		status, collect = word, nil
	} else {
		c.prompts++
		length := c.sim.cfg.soundLength(action)
		h = c.sim.cfg.Assume.listen(length, collect,
			c.person.Hear(Prompt{Number: c.prompts, Action: action, Length: length, Collect: collect}))
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
	if d, bridged := action.(telesign.Dial); bridged {
		next.To, next.From, next.Direction = d.To, d.CallerIDNumber, Outbound
		next.ExternalID = cmp.Or(d.ExternalID, next.ExternalID)
		c.clock(&next, began, began, true)
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
	c.post(e)
}

// verdict is what became of one event's answer.
type verdict struct {
	event   telesign.EventName
	action  telesign.Action
	missed  string // why there is no answer
	invalid string // why TeleSign would refuse it
}

func (v verdict) method() telesign.Method {
	if v.action == nil {
		return noAction
	}
	return v.action.Method()
}

// post posts one event, judges the answer and accounts for both.
func (c *call) post(e telesign.Event) (telesign.Action, verdict) {
	at := c.elapsed
	v := verdict{event: e.Name}
	body, err := e.Encode()
	var a answer
	if err != nil { // a defect: nothing was posted
		a = answer{unsent: true, missed: missedConnection, err: fmt.Errorf("encoding %s: %w", e.Name, err)}
	} else {
		a = c.sim.poster.post(c.sim.posts, body)
	}
	c.elapsed += a.latency
	problem := ""
	if a.missed != "" {
		v.missed, problem = a.missed, a.missed+": "+a.err.Error()
	} else if v.action, err = c.judge(e, a.body); err != nil {
		v.action, v.invalid = nil, err.Error()
		problem = v.invalid
	}
	kept := c.sim.tallies.exchanged(v, a, Example{
		Call: c.info.Index, ReferenceID: c.referenceID, Event: body, Answer: fmt.Sprintf("%.1000s", a.body), Problem: problem,
	})
	if kept {
		c.sim.log.Warn("the webhook's answer was missed or invalid",
			"call", c.info.Index, "reference_id", c.referenceID, "event", e.Name, "problem", problem)
	}
	if c.sim.cfg.KeepTranscripts {
		c.exchanges = append(c.exchanges, Exchange{
			At: at, Event: json.RawMessage(body), Name: e.Name, Answer: string(a.body), Action: v.action,
			Invalid: v.invalid, Missed: v.missed, Latency: a.latency,
		})
	}
	return v.action, v
}

// judge reads an answer. An error is why TeleSign would refuse it. A nil action is
// no error only where nobody is waiting to hear something.
func (c *call) judge(e telesign.Event, body []byte) (telesign.Action, error) {
	action, err := telesign.ParseAction(body)
	if e.Name == telesign.CallCompleted { // whatever it is, TeleSign ignores it
		return action, nil
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("is longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return nil, err
	}
	if action == nil {
		if c.open && c.end == "" || e.Name == telesign.IncomingCall {
			return nil, errors.New("asks for no action: the person on the line hears nothing more")
		}
		return nil, nil
	}
	if !c.sim.cfg.AnswerTable.Allows(e.Name, action.Method()) {
		return nil, fmt.Errorf("%s: %s cannot answer %s by the %s table",
			telesign.UnsupportedCallState, action.Method(), e.Name, c.sim.cfg.AnswerTable)
	}
	if c.outcome != Answered && action.Method() != telesign.MethodHangup {
		return nil, fmt.Errorf("%s: %s needs somebody on the line, and the dial ended with %s",
			telesign.UnsupportedCallState, action.Method(), c.outcome)
	}
	if d, bridge := action.(telesign.Dial); bridge {
		if word := c.sim.refuse(d, c.info.From); word != "" && !slices.Contains(blockWords(), word) {
			return nil, errors.New(string(word))
		}
	}
	return action, action.Validate()
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

func (c *call) transcript(end End) Transcript {
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
