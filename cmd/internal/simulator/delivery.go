package simulator

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// plan is the faults of one event.
type plan struct {
	delay     time.Duration
	copies    []posting
	cut       cut
	overtaken bool
	by        time.Duration // what comes before an overtaken event
}

// posting is one post of an event that is posted more than once.
type posting struct {
	url   string
	after time.Duration // real time, from when the first one goes out
	cut   cut
}

// planned draws the faults of the next event.
func (c *call) planned(e telesign.Event) plan {
	var p plan
	if len(c.sim.chances.faults) == 0 {
		return p
	}
	of, n := ofOrdinary, c.ordinary
	switch {
	case e.Name == telesign.CallCompleted:
		of, n = ofCompleted, 0
	case c.afterHold:
		of, n = ofAfterHold, c.afterHolds
		c.afterHolds++
	default:
		c.ordinary++
	}
	hits := c.sim.chances.draw(c.key(of, n), c.sim.since, func(f Fault) bool {
		return f.Kind.ofEvent() && (f.Event == "" || f.Event == e.Name) &&
			(f.Kind != FaultOvertaken || c.end == "") // an ended call has nobody left to hang up
	})
	c.sim.tallies.injected(hits)
	for _, h := range hits {
		switch h.Kind {
		case FaultDuplicate:
			for range max(1, h.Copies) {
				p.copies = append(p.copies, posting{url: c.sim.cfg.WebhookURL, after: h.After.draw(h.draw())})
			}
		case FaultSecondURL:
			p.copies = append(p.copies, posting{url: h.URL, after: h.after})
		case FaultDelay:
			p.delay += h.after
		case FaultOvertaken:
			p.overtaken, p.by = true, h.after
		case FaultCutAfterAnswer:
			p.cut = cut{when: cutAfterAnswer}
		case FaultCutBeforeAnswer:
			p.cut = cut{when: cutBeforeAnswer, after: h.after}
		default: // not of events
		}
	}
	return p
}

// delivery is one event and all posts of it. Its call's goroutine alone reads the
// results and judges them.
type delivery struct {
	event   telesign.Event
	number  int // of the event in its call
	body    json.RawMessage
	at      time.Duration // by the call's clock
	unheard bool          // TeleSign executes no answer to it

	results chan result // as many fit as there can be posts
	out     int         // posts whose result has not been read
	posts   int
	counted bool // a result has been counted as the event's own

	// The first answer that was read, and when, for comparison.
	answered time.Time
	said     []byte
	hold     bool
}

// result is what came of one post.
type result struct {
	answer
	copy    int  // 0: the event's first post
	skipped bool // the simulator stopped before it was due
}

func (c *call) newDelivery(e telesign.Event, most int) (*delivery, error) {
	body, err := e.Encode()
	if err != nil {
		return nil, fmt.Errorf("encoding %s: %w", e.Name, err)
	}
	d := &delivery{event: e, number: c.events, body: body, at: c.elapsed, results: make(chan result, most)}
	c.events++
	c.deliveries = append(c.deliveries, d)
	return d, nil
}

// launch posts the event, each posting in a goroutine of its own; one alone whose
// answer is waited for in the caller's.
func (c *call) launch(d *delivery, list []posting) {
	for _, p := range list {
		n := d.posts
		d.posts++
		d.out++
		send := func() { d.results <- c.sim.deliver(p, d.body, n) }
		if len(list) == 1 && !d.unheard {
			send()
			return
		}
		c.sim.wg.Go(send)
	}
}

// deliver waits until a posting is due and posts.
func (s *Simulator) deliver(p posting, body []byte, n int) result {
	if p.after > 0 {
		timer := time.NewTimer(p.after)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-s.lines.Done():
			return result{copy: n, skipped: true}
		}
	}
	return result{copy: n, answer: s.poster.post(s.posts, parcel{url: p.url, event: body, cut: p.cut})}
}

// post posts one event, as often as its faults want and, while no answer comes, as
// often as is assumed. It returns the first answer, judged, and accounts for all
// that it waited for.
func (c *call) post(e telesign.Event, p plan) (telesign.Action, verdict) {
	again := c.sim.cfg.Assume.PostAgain
	d, err := c.newDelivery(e, 1+len(p.copies)+again)
	if err != nil { // a defect: nothing was posted
		v := verdict{event: e.Name, missed: missedConnection}
		c.sim.tallies.exchanged(v, answer{unsent: true, missed: missedConnection}, Example{Call: c.info.Index, ReferenceID: c.referenceID, Problem: err.Error()})
		return nil, v
	}
	c.pause(p.delay)
	waiting := c.elapsed
	v := c.await(d, c.postings(p))
	for ; again > 0 && !v.decided() && c.sim.lines.Err() == nil; again-- {
		c.pause(c.sim.cfg.Assume.PostAgainAfter)
		c.sim.tallies.postedAgain()
		v = c.await(d, []posting{{url: c.sim.cfg.WebhookURL}})
	}
	if c.end == "" && (c.open || c.info.Direction == Inbound) {
		c.sim.tallies.silence(c.elapsed - waiting)
	}
	c.settle(false)
	return v.action, v
}

// await launches posts and reads results until an answer is there or all have
// failed. It moves the call's clock by what that took, without the waiting for
// connections.
func (c *call) await(d *delivery, list []posting) verdict {
	began, at := time.Now(), c.elapsed
	c.launch(d, list)
	v := verdict{event: d.event.Name, missed: missedConnection}
	for d.out > 0 {
		r := <-d.results
		d.out--
		if r.skipped {
			continue
		}
		c.elapsed = at + r.sent.Add(r.latency).Sub(began) - r.waited
		if v = c.read(d, r, true); v.decided() {
			break
		}
	}
	return v
}

// settle reads what has come in after it could matter. All: it waits for the rest.
func (c *call) settle(all bool) {
	left := c.deliveries[:0]
	for _, d := range c.deliveries {
		for reading := true; reading && d.out > 0; {
			var r result
			if all {
				r = <-d.results
			} else {
				select {
				case r = <-d.results:
				default:
					reading = false
					continue
				}
			}
			d.out--
			if !r.skipped {
				c.read(d, r, false)
			}
		}
		if d.out > 0 {
			left = append(left, d)
		}
	}
	c.deliveries = left
}

// postings is the first post of an event with its copies.
func (c *call) postings(p plan) []posting {
	return append([]posting{{url: c.sim.cfg.WebhookURL, cut: p.cut}}, p.copies...)
}

// aside posts an event whose answer nobody executes, a while after now, and does
// not wait for it.
func (c *call) aside(e telesign.Event, p plan) {
	list := c.postings(p)
	for i := range list {
		list[i].after += p.by + p.delay
	}
	d, err := c.newDelivery(e, len(list))
	if err != nil { // a defect, like that of post
		c.sim.log.Error("an event could not be encoded", "event", e.Name, "error", err)
		return
	}
	d.unheard = true
	c.launch(d, list)
}

// read judges and accounts for one result. Wanted: the call waits for an answer.
func (c *call) read(d *delivery, r result, wanted bool) verdict {
	v := verdict{event: d.event.Name}
	problem := ""
	switch {
	case r.lost:
		v.lost = true
	case r.missed != "":
		v.missed, problem = r.missed, r.missed+": "+r.err.Error()
	case wanted:
		var err error
		if v.action, err = c.judge(d.event, r.body); err != nil {
			v.action, v.invalid = nil, err.Error()
			problem = v.invalid
		}
		v.hold = c.sim.holds.is(v.action)
	}
	c.account(d, r, v, wanted, problem)
	if c.sim.cfg.KeepTranscripts {
		x := Exchange{
			At: d.at, Sent: r.sent, Event: d.body, Name: d.event.Name, Answer: string(r.body), Action: v.action,
			Invalid: v.invalid, Missed: v.missed, Latency: r.latency,
			number: d.number, Copy: r.copy, Lost: v.lost, Hold: v.hold, Executed: wanted && v.action != nil && d.event.Name != telesign.CallCompleted,
		}
		if !wanted || v.lost {
			x.Action, _ = telesign.ParseAction(r.body)
			x.Hold = c.sim.holds.is(x.Action)
		}
		c.exchanges = append(c.exchanges, x)
	}
	return v
}

// account counts one result: the first that is read as the event's own, the others
// as copies.
func (c *call) account(d *delivery, r result, v verdict, wanted bool, problem string) {
	example := Example{
		Call: c.info.Index, ReferenceID: c.referenceID, Event: d.body, Answer: fmt.Sprintf("%.1000s", r.body), Problem: problem,
	}
	first := !d.counted
	d.counted = true
	kept := false
	switch {
	case first && d.unheard:
		c.sim.tallies.unheard(v, r.answer)
	case first:
		kept = c.sim.tallies.exchanged(v, r.answer, example)
	default:
		c.sim.tallies.copied(r.answer)
		if wanted && v.decided() {
			kept = c.sim.tallies.judged(v, example)
		}
	}
	if kept {
		c.sim.log.Warn("the webhook's answer was missed or invalid",
			"call", c.info.Index, "reference_id", c.referenceID, "event", d.event.Name, "problem", problem)
	}
	c.compare(d, r, example)
}

// compare counts an answer that is another action than the one that came first.
// What TeleSign ignores is not compared.
func (c *call) compare(d *delivery, r result, example Example) {
	if r.missed != "" || r.unread || d.unheard || d.event.Name == telesign.CallCompleted {
		return
	}
	action, said := canonical(r.body)
	hold := c.sim.holds.is(action)
	if d.said == nil {
		d.answered, d.said, d.hold = r.sent.Add(r.latency), said, hold
		return
	}
	if bytes.Equal(said, d.said) {
		return
	}
	how := differsLater
	switch {
	case hold != d.hold:
		how = differsHold
	case !r.sent.After(d.answered):
		how = differsAtOnce
	}
	example.Problem = fmt.Sprintf("post %d of the event was answered otherwise (%s) than one before: %.1000s", 1+r.copy, how, d.said)
	if c.sim.tallies.differs(how, example) {
		c.sim.log.Warn("copies of an event were answered differently",
			"call", c.info.Index, "reference_id", c.referenceID, "event", d.event.Name, "how", how)
	}
}

// canonical is an answer's action in one spelling, or its bytes if it is none.
func canonical(body []byte) (telesign.Action, []byte) {
	action, err := telesign.ParseAction(body)
	if err != nil {
		return nil, append([]byte{}, body...)
	}
	said, err := telesign.Encode(action)
	if err != nil {
		return nil, append([]byte{}, body...)
	}
	return action, said
}
