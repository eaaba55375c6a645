package flow

import (
	"maps"
	"slices"
	"strings"

	"github.com/offhook/offhook/messages"
)

// Targets are all the steps, and TargetHangup, that a step can lead to, each once,
// sorted. A step that ends in a disposition of its own leads to none by that.
func (s *Step) Targets() []string {
	targets := []string{s.Next}
	if q := s.Question; q != nil {
		targets = append(targets, q.NoInput.Next, q.Invalid.Next)
		for _, t := range q.Routes {
			targets = append(targets, t)
		}
		for _, t := range q.Keys {
			targets = append(targets, t)
		}
	}
	targets = slices.DeleteFunc(targets, func(t string) bool { return t == "" || t == TargetRepeat })
	slices.Sort(targets)
	return slices.Compact(targets)
}

// checkGraph reports steps that no call reaches, ways that never listen and never
// end, and answers that are said before they can have been given.
func (c *compiler) checkGraph() {
	leads := make(map[string][]string, len(c.program.Steps))
	for name, s := range c.program.Steps {
		leads[name] = slices.DeleteFunc(s.Targets(), func(t string) bool { return t == TargetHangup })
	}
	c.checkReached(leads)
	if looping := c.checkLoops(); !looping {
		c.checkEnds(leads)
	}
	c.checkSaved(leads)
	c.checkOptOut(leads)
}

// reach is every step that can be come to from some, these included.
func reach(leads map[string][]string, from ...string) map[string]bool {
	seen := map[string]bool{}
	for len(from) > 0 {
		name := from[len(from)-1]
		from = from[:len(from)-1]
		if !seen[name] {
			seen[name] = true
			from = append(from, leads[name]...)
		}
	}
	return seen
}

func (c *compiler) checkReached(leads map[string][]string) {
	start := c.spec.start
	if start.answered.value == "" && start.incoming.value == "" {
		return // reported; every step would be
	}
	seen := reach(leads, start.answered.value, start.incoming.value)
	for _, s := range c.spec.steps {
		if !seen[s.name.value] {
			c.errorf(s.name.at, "lead to it, or take it out", "step %s is never reached from start", s.name.value)
		}
	}
}

// checkLoops reports circles of steps that never listen: nobody could end them but
// by hanging up. Such a step leads to one other at most, so each is walked once.
func (c *compiler) checkLoops() (found bool) {
	walk := map[string]int{} // the walk that a step was first met on
	for i, s := range c.spec.steps {
		var path []string
		name := s.name.value
		for step := c.program.Steps[name]; step != nil && step.Question == nil && walk[name] == 0; step = c.program.Steps[name] {
			walk[name] = i + 1
			path = append(path, name)
			name = step.Next
		}
		begin := slices.Index(path, name)
		if begin < 0 {
			continue
		}
		found = true
		circle := path[begin:]
		first := slices.MinFunc(circle, func(a, b string) int { return c.program.Steps[a].Line - c.program.Steps[b].Line })
		at := c.byName[first].name.at
		c.errorf(at, "let one of them listen, or hang up", "a loop without input: %s", circleText(circle, first))
	}
	return found
}

// circleText is a circle beginning and ending with one of its steps.
func circleText(circle []string, first string) string {
	i := slices.Index(circle, first)
	turned := slices.Concat(circle[i:], circle[:i])
	return strings.Join(append(turned, first), " → ")
}

// checkEnds reports steps from which no way leads to the end of the call. Ways that
// are themselves in error count as ends: they have been reported.
func (c *compiler) checkEnds(leads map[string][]string) {
	back := make(map[string][]string, len(leads))
	var ends []string
	for _, s := range c.spec.steps {
		name := s.name.value
		for _, t := range leads[name] {
			back[t] = append(back[t], name)
		}
		if c.program.Steps[name].canEnd() {
			ends = append(ends, name)
		}
	}
	ending := reach(back, ends...)
	var stuck []string
	for _, s := range c.spec.steps {
		if !ending[s.name.value] {
			stuck = append(stuck, s.name.value)
		}
	}
	if len(stuck) > 0 {
		c.errorf(c.byName[stuck[0]].name.at, "let one of them hang up", "a call that comes here has no way to end: %s", list(stuck, ""))
	}
}

// canEnd reports whether a call can end in the step, or leaves it by a way that is
// in error.
func (s *Step) canEnd() bool {
	ends := func(target string) bool { return target == TargetHangup || target == "" }
	q := s.Question
	if q == nil || q.Open || len(q.Accept) > 0 {
		if ends(s.Next) {
			return true
		}
	}
	if q == nil || q.Any {
		return false
	}
	targets := slices.Concat(slices.Collect(maps.Values(q.Routes)), slices.Collect(maps.Values(q.Keys)), []string{q.NoInput.Next})
	if !q.Open {
		targets = append(targets, q.Invalid.Next)
	}
	return slices.ContainsFunc(targets, ends)
}

// checkOptOut reports calls that end as opted out though nobody was put on the
// list: that person would be called again.
func (c *compiler) checkOptOut(leads map[string][]string) {
	var lists []string
	for name, s := range c.program.Steps {
		if s.OptOut {
			lists = append(lists, name)
		}
	}
	listed := reach(leads, lists...)
	for _, s := range c.spec.steps {
		if s.hangup.value == optedOut && !listed[s.name.value] {
			c.errorf(s.hangup.at, "add opt_out: true", "step %s ends in %s, but nothing puts the person on the opt-out list", s.name.value, optedOut)
		}
	}
}

const optedOut = string(messages.DispositionOptedOut)

// checkSaved reports answers that no way to the text can have saved.
func (c *compiler) checkSaved(leads map[string][]string) {
	savers := map[string][]string{} // the steps after those that save an answer
	for name, s := range c.program.Steps {
		if s.Question != nil && s.Question.Save != "" {
			savers[s.Question.Save] = append(savers[s.Question.Save], leads[name]...)
		}
	}
	after := map[string]map[string]bool{}
	for _, u := range c.uses {
		answer, ok := strings.CutPrefix(u.name, "answers.")
		if _, saved := savers[answer]; !ok || !saved || u.step == "" {
			continue
		}
		if after[answer] == nil {
			after[answer] = reach(leads, savers[answer]...)
		}
		if !after[answer][u.step] {
			c.errorf(u.at, "", "${%s} is always empty here: no step that saves it comes before step %s", u.name, u.step)
		}
	}
}
