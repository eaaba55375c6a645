package simulator

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// LegEvents says which events the leg of a dial posts that answers an event.
type LegEvents string

// The variants. With the last two a leg that is not answered posts dial_completed
// only.
const (
	// LegCompleted: call_leg_completed when the leg is over, or was not answered.
	LegCompleted LegEvents = "completed"
	// LegDialThenCompleted: dial_completed with the leg's to when the leg is answered
	// or is not, and call_leg_completed when an answered one is over.
	LegDialThenCompleted LegEvents = "dial-then-completed"
	// LegCompletedThenDial: the same two of an answered leg, in the wrong order. The
	// answer to the one that comes late is not executed.
	LegCompletedThenDial LegEvents = "completed-then-dial"
)

// legWords is how the variants are written.
func legWords() string {
	return strings.Join([]string{string(LegCompleted), string(LegDialThenCompleted), string(LegCompletedThenDial)}, ", ")
}

func (l LegEvents) validate() error {
	switch l {
	case LegCompleted, LegDialThenCompleted, LegCompletedThenDial:
		return nil
	}
	return fmt.Errorf("%s is %q, want one of %s", wordLegEvents, string(l), legWords())
}

// legRingShare is the part of a leg's length for which it rings.
const legRingShare = 4

// bridge lives a leg and returns the event that the call goes on with. Not ok: the
// call is over.
func (c *call) bridge(d telesign.Dial) (next telesign.Event, ok bool) {
	variant, began := c.sim.cfg.Assume.LegEvents, c.elapsed
	length := c.sim.cfg.soundLength(d)
	ring := length / legRingShare
	word := c.failure(d)
	switch {
	case word != "":
		ring, length = leastSound, leastSound
	case len(c.hits(ofLeg, c.legs, FaultLegNotAnswered)) > 0:
		word, length = string(NoAnswer), ring
	}
	c.legs++
	h := heard{took: length}
	if length > leastSound { // somebody hears it ring
		c.prompts++
		h = c.sim.cfg.Assume.listen(length, nil, c.react(Prompt{Number: c.prompts, Action: d, Length: length}))
	}
	leg := func(name telesign.EventName, status string) telesign.Event {
		e := c.event(name)
		e.To, e.From, e.Status = d.To, d.CallerIDNumber, status
		e.ExternalID = cmp.Or(d.ExternalID, e.ExternalID)
		return e
	}
	dialled := leg(telesign.DialCompleted, cmp.Or(word, telesign.StatusAnswered))
	if variant == LegDialThenCompleted && !h.hungUp && word == "" {
		action, ok := c.connect(dialled, ring)
		if !ok {
			return next, false
		}
		if action != nil { // the leg is dropped for it
			return c.execute(action)
		}
		h.took -= ring
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
	if word != "" && variant != LegCompleted {
		return dialled, true
	}
	if variant == LegCompletedThenDial {
		c.trailing = &dialled
	}
	next = leg(telesign.CallLegCompleted, cmp.Or(word, statusHangup))
	next.Direction = Outbound
	c.clock(&next, began, began, true)
	return next, true
}

// connect rings and posts that the leg was answered. No action: the two talk on.
func (c *call) connect(dialled telesign.Event, ring time.Duration) (telesign.Action, bool) {
	if !c.pass(ring) {
		return nil, false
	}
	c.leg = true
	defer func() { c.leg = false }()
	return c.ask(dialled)
}
