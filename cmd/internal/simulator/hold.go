package simulator

import (
	"html"
	"regexp"
	"strings"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// holds recognises holds: prompts that only ask for patience, by their text.
type holds map[string]bool

func newHolds(texts []string) holds {
	h := make(holds)
	for _, text := range texts {
		h[spoken(text)] = true
	}
	return h
}

// is reports whether an action is a hold: a speak that listens for nothing and
// says one of the texts and nothing else, whatever markup and pauses it has.
func (h holds) is(a telesign.Action) bool {
	speak, ok := a.(telesign.Speak)
	return ok && speak.CollectDigits == nil && h[spoken(speak.Message)]
}

// spoken is the words of a message: without markup, with one space between.
func spoken(message string) string {
	return strings.Join(strings.Fields(html.UnescapeString(markup.ReplaceAllString(message, " "))), " ")
}

var strongBreak = regexp.MustCompile(`<break\s+strength=["']strong["']\s*(/>|>\s*</break\s*>)`)

// pauses is how long a message is silent: a second for each strong break.
func pauses(message string) time.Duration {
	return time.Duration(len(strongBreak.FindAllString(message, -1))) * time.Second
}

// react is what the person does at a prompt, or in the middle of a hold that a
// fault ends.
func (c *call) react(p Prompt) Reaction {
	r := c.person.Hear(p)
	if !c.sim.holds.is(p.Action) {
		return r
	}
	hits := c.hits(ofHold, c.holds, FaultHangUpInHold)
	c.holds++
	for _, h := range hits {
		at := Span{p.Length / 10, p.Length * 9 / 10}.draw(h.draw())
		return Reaction{HangsUp: true, HangUpAt: at.Truncate(time.Millisecond)}
	}
	return r
}

// count counts holds and how many come in a row.
func (c *call) count(v verdict) {
	c.afterHold = v.hold
	if !v.hold {
		c.endRow()
		return
	}
	c.sim.tallies.hold(!c.held)
	c.held = true
	c.row++
}

func (c *call) endRow() {
	if c.row > 0 {
		c.sim.tallies.holdRow(c.row)
		c.row = 0
	}
}
