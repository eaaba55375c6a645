package flow

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// checkStep reports what one step says that does not go together.
func (c *compiler) checkStep(s *stepSpec) {
	if s.broken {
		return
	}
	name := s.name.value
	says, listens := s.prompt.says(), s.listens()
	if s.next.ok() && s.hangup.ok() {
		c.errorf(later(s.next.at, s.hangup.at), "keep one of them", "step %s has both next and hangup", name)
	}
	if listens && !says {
		c.errorf(s.name.at, "give it speak or play", "step %s listens but says nothing: keys are collected during a prompt", name)
	}
	if !listens {
		for _, part := range s.question.parts() {
			c.errorf(part.at, "add collect_digits, digits, accept or save", "%s has no effect: step %s does not listen", part.value, name)
		}
		switch {
		case !s.next.ok() && !s.hangup.ok():
			c.errorf(s.name.at, "add next: or hangup:", "step %s is a dead end", name)
		case !says && s.next.ok() && !s.optOut.ok():
			c.errorf(s.name.at, "lead straight to "+s.next.value, "step %s does nothing", name)
		}
	}
	retries := []retrySpec{s.question.noInput.value, s.question.invalid.value}
	speaks := s.prompt.speak.ok()
	for _, r := range retries {
		c.checkLanguage(r.prompt, r.prompt.speak.ok())
		speaks = speaks || r.prompt.speak.ok()
	}
	c.checkLanguage(s.prompt, speaks)
	c.checkDisposition(s)
}

// parts are what a step says of a question, collect_digits apart.
func (s questionSpec) parts() []written[string] {
	parts := []written[string]{{"tries", s.tries.at}, {"no_input", s.noInput.at}, {"invalid", s.invalid.at}, {"keys", s.keys.at}}
	return slices.DeleteFunc(parts, func(p written[string]) bool { return !p.ok() })
}

func (c *compiler) checkLanguage(p promptSpec, speaks bool) {
	if p.language.ok() && !speaks {
		c.errorf(p.language.at, "", "language has no effect: there is no speak beside it")
	}
}

// ownDispositions are the words a flow's author is most likely to mean.
var ownDispositions = []string{"completed", "partial", "no_response", "opted_out", "failed", "hung_up"}

// checkDisposition warns of words that look like a slip.
func (c *compiler) checkDisposition(s *stepSpec) {
	switch word := s.hangup.value; {
	case word == "" || slices.Contains(ownDispositions, word):
	default:
		for _, own := range ownDispositions {
			if distance(word, own, 2) == 1 {
				c.warnf(s.hangup.at, "did you mean "+own+"?", "the disposition %s is your own", word)
			}
		}
	}
}

func later(a, b position) position {
	if a.line > b.line || a.line == b.line && a.column > b.column {
		return a
	}
	return b
}

// checkQuestion reports what a step's question can never do, and where it leads
// nowhere. What the step inherits from the question block is reported here only
// where the step itself is in its way.
func (c *compiler) checkQuestion(s *stepSpec, merged questionSpec, q *Question) {
	name, own := s.name.value, &s.question
	answers := q.Open || s.accept.ok() // an entry can be Accepted
	switch leads := s.next.ok() || s.hangup.ok(); {
	case answers && !leads:
		c.errorf(s.name.at, "add next: or hangup:", "step %s is a dead end: an answer leads nowhere", name)
	case !answers && s.next.value != "":
		c.errorf(s.next.at, "add accept for the keys that lead there; other keys are invalid", "next is never taken: every key of step %s has its own target", name)
	case !answers && s.hangup.ok():
		c.errorf(s.hangup.at, "add accept for the keys that lead there; other keys are invalid", "hangup is never taken: every key of step %s has its own target", name)
	}
	if q.Any {
		if own.tries.ok() {
			c.errorf(own.tries.at, "", "tries has no effect: step %s accepts anything, also nothing, and never asks again", name)
		}
		return
	}
	if q.Open && own.invalid.ok() {
		c.errorf(own.invalid.at, "name what is valid under accept", "invalid can never happen: step %s accepts whatever is pressed", name)
	}
	c.checkRetry(s, "no_input", "nothing", own.noInput, merged.noInput, q.Tries)
	if !q.Open {
		c.checkRetry(s, "invalid", "a wrong key", own.invalid, merged.invalid, q.Tries)
	}
	c.checkEntries(s, q)
	c.checkPressable(s, q)
}

// checkRetry reports a retry that leads nowhere, or says what is never heard.
func (c *compiler) checkRetry(s *stepSpec, what, pressed string, own, merged written[retrySpec], tries int) {
	if !merged.value.next.ok() {
		place := merged.at
		if !place.ok() {
			place = s.name.at
		}
		c.errorf(place, what+": hangup, or the name of a step, here or in the question block", "step %s is a dead end: pressing %s leads nowhere", s.name.value, pressed)
	}
	if t := own.value.tries; t.value > tries {
		c.errorf(t.at, "", "%s.tries is never reached: the question is asked %s in all", what, times(tries))
	}
	switch said := own.value.prompt; {
	case !said.says():
	case tries == 1:
		c.errorf(said.at(), "", "%s is never said: step %s asks only once", what, s.name.value)
	case merged.value.tries.value == 1:
		c.errorf(said.at(), "", "%s is never said: %s.tries is 1", what, what)
	}
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return strconv.Itoa(n) + " times"
}

// at is where a prompt begins.
func (s promptSpec) at() position {
	if s.play.ok() && (!s.speak.ok() || later(s.play.at, s.speak.at) == s.speak.at) {
		return s.play.at
	}
	return s.speak.at
}

// checkEntries reports entries of a step that another entry takes first.
func (c *compiler) checkEntries(s *stepSpec, q *Question) {
	exact := map[string]position{} // digits, and accepted entries that are not ranges
	for _, r := range s.digits.value {
		exact[r.key.value] = r.key.at
	}
	for _, a := range s.accept.value {
		if a.entry.To != "" {
			continue
		}
		if _, taken := exact[a.entry.From]; taken {
			c.errorf(a.key, "keep one of them", "accept %q is never reached: digits leads that key elsewhere", a.entry.From)
		}
		exact[a.entry.From] = a.key
	}
	var ranges []acceptSpec
	for _, a := range s.accept.value {
		if a.entry.To == "" {
			continue
		}
		if other := overlapping(ranges, a.entry); other != "" {
			c.errorf(a.key, "", "accept %q overlaps %q, which comes first", a.entry.text(), other)
		} else if a.entry.full(exact) {
			c.errorf(a.key, "", "accept %q is never reached: each of its keys is named by itself", a.entry.text())
		}
		ranges = append(ranges, a)
	}
	for _, r := range s.question.keys.value {
		key := r.key.value
		_, named := exact[key]
		if _, accepted := q.accepted(key); named || accepted {
			c.errorf(r.key.at, "keep one of them", "keys %q is never reached: the key is an answer or a route of step %s", key, s.name.value)
		}
	}
	for _, r := range c.spec.question.value.keys.value {
		key := r.key.value
		if _, named := exact[key]; named || q.Keys[key] != r.target.value {
			continue // the step says so itself
		}
		for _, a := range ranges {
			if a.entry.covers(key) {
				c.warnf(a.key, fmt.Sprintf("to keep it, add digits: { %q: %s }", key, r.target.value), "%q is an answer here and does not lead to %s", key, r.target.value)
				break
			}
		}
	}
}

// text is an accepted entry as it is written.
func (a Accept) text() string {
	if a.To == "" {
		return a.From
	}
	return a.From + "-" + a.To
}

// overlapping finds a range that has a number in common with a.
func overlapping(ranges []acceptSpec, a Accept) string {
	for _, r := range ranges {
		if compareNumbers(a.From, r.entry.To) <= 0 && compareNumbers(r.entry.From, a.To) <= 0 {
			return r.entry.text()
		}
	}
	return ""
}

// full reports whether every number of a range is an exact entry.
func (a Accept) full(exact map[string]position) bool {
	from, err1 := strconv.ParseUint(a.From, 10, 64)
	to, err2 := strconv.ParseUint(a.To, 10, 64)
	if err1 != nil || err2 != nil || to-from >= uint64(len(exact)) {
		return false
	}
	for n := from; n <= to; n++ {
		if _, ok := exact[strconv.FormatUint(n, 10)]; !ok {
			return false
		}
	}
	return true
}

// checkPressable reports entries that can never arrive because the entry ends
// before them: they are longer than max, or hold a terminator.
func (c *compiler) checkPressable(s *stepSpec, q *Question) {
	check := func(what, entry string, at position) {
		switch max := q.Collect.Max; {
		case len(entry) > max:
			c.errorf(at, fmt.Sprintf("collect_digits: { max: %d }", len(entry)), "%s %q can never be pressed: max is %d", what, entry, max)
		case strings.ContainsAny(entry, q.Collect.Terminators):
			c.errorf(at, "take another key, or other terminators", "%s %q can never be pressed: terminators %q ends the entry first", what, entry, q.Collect.Terminators)
		}
	}
	for _, r := range s.digits.value {
		check("digits", r.key.value, r.key.at)
	}
	for _, a := range s.accept.value {
		check("accept", a.entry.From, a.key)
		if a.entry.To != "" {
			check("accept", a.entry.To, a.key)
		}
	}
	for _, r := range s.question.keys.value {
		check("keys", r.key.value, r.key.at)
	}
	if q.Tries == 1 {
		for _, r := range slices.Concat(s.digits.value, s.question.keys.value) {
			if r.target.value == TargetRepeat {
				c.errorf(r.target.at, "", "repeat can never repeat: step %s asks only once", s.name.value)
			}
		}
	}
	// What the step inherits is for it to hear, too, unless it says otherwise.
	own := s.question.collect.value
	for _, r := range c.spec.question.value.keys.value {
		key := r.key.value
		switch {
		case q.Keys[key] == "" || q.Keys[key] != r.target.value:
		case own.terminators.value != "" && strings.ContainsAny(key, own.terminators.value):
			c.errorf(own.terminators.at, "take another key, or other terminators", "terminators %q ends the entry before the key %q of the question block", own.terminators.value, key)
		case own.max.value > 0 && len(key) > own.max.value:
			c.warnf(own.max.at, "", "the key %q of the question block cannot be pressed here: max is %d", key, own.max.value)
		}
	}
}

// checkBlock reports what the question block says that no question can do.
func (c *compiler) checkBlock() {
	block := c.spec.question
	if !block.ok() {
		return
	}
	b := block.value
	var questions []*Question
	tries := 0 // the most that a question that can ask again is asked
	for _, s := range c.spec.steps {
		if q := c.program.Steps[s.name.value].Question; q != nil {
			questions = append(questions, q)
			tries = max(tries, q.Tries)
		}
	}
	c.checkLanguage(b.noInput.value.prompt, b.noInput.value.prompt.speak.ok())
	c.checkLanguage(b.invalid.value.prompt, b.invalid.value.prompt.speak.ok())
	if len(questions) == 0 {
		c.warnf(block.at, "", "the question block is never used: no step listens")
		return
	}
	for _, r := range []struct {
		what string
		spec retrySpec
	}{{"no_input", b.noInput.value}, {"invalid", b.invalid.value}} {
		if r.spec.tries.value > tries {
			c.errorf(r.spec.tries.at, "", "%s.tries is never reached: questions are asked %s in all", r.what, times(tries))
		}
		switch said := r.spec.prompt; {
		case !said.says():
		case tries == 1:
			c.errorf(said.at(), "", "%s is never said: questions are asked only once", r.what)
		case r.spec.tries.value == 1:
			c.errorf(said.at(), "", "%s is never said: %s.tries is 1", r.what, r.what)
		}
	}
	for _, r := range b.keys.value {
		if r.target.value == TargetRepeat && tries == 1 {
			c.errorf(r.target.at, "", "repeat can never repeat: questions are asked only once")
		}
		key := r.key.value
		long, ended := true, true // in every question
		for _, q := range questions {
			long = long && len(key) > q.Collect.Max
			ended = ended && strings.ContainsAny(key, q.Collect.Terminators)
		}
		switch {
		case long:
			c.errorf(r.key.at, fmt.Sprintf("collect_digits: { max: %d }", len(key)), "keys %q can never be pressed: max is smaller in every question", key)
		case ended && b.collect.value.terminators.ok():
			c.errorf(r.key.at, "take another key, or other terminators", "keys %q can never be pressed: terminators %q ends the entry first", key, b.collect.value.terminators.value)
		}
	}
}
