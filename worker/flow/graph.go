package flow

import (
	"maps"
	"slices"
	"strings"

	"github.com/offhook/offhook/messages"
)

// targets are all the steps, and TargetHangup, that a step can lead to, each once,
// sorted. A step that ends in a disposition of its own leads to none by that.
func (s *Step) targets() []string {
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

// graph is where each step can lead, steps being numbered as in the file. Ends of
// the call are not in it.
type graph struct {
	number map[string]int
	leads  [][]int
}

func newGraph(p *Program) graph {
	g := graph{number: make(map[string]int, len(p.Order)), leads: make([][]int, len(p.Order))}
	for i, name := range p.Order {
		g.number[name] = i
	}
	for i, name := range p.Order {
		g.leads[i] = g.numbers(p.Steps[name].targets())
	}
	return g
}

// numbers are those of the targets that are steps.
func (g graph) numbers(targets []string) []int {
	var numbers []int
	for _, t := range targets {
		if n, ok := g.number[t]; ok {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

// turned is the graph with every way the other way round.
func (g graph) turned() graph {
	back := graph{number: g.number, leads: make([][]int, len(g.leads))}
	for from, targets := range g.leads {
		for _, to := range targets {
			back.leads[to] = append(back.leads[to], from)
		}
	}
	return back
}

// reach tells of every step whether it can be come to from some, these included.
func (g graph) reach(from []int) []bool {
	seen := make([]bool, len(g.leads))
	next := slices.Clone(from)
	for len(next) > 0 {
		n := next[len(next)-1]
		next = next[:len(next)-1]
		if !seen[n] {
			seen[n] = true
			next = append(next, g.leads[n]...)
		}
	}
	return seen
}

// checkGraph reports steps that no call reaches, ways that never listen or never
// end, answers that are said before they can have been given, and opt-outs that
// are none.
func (c *compiler) checkGraph() {
	g := newGraph(c.program)
	c.checkReached(g)
	if looping := c.checkLoops(); !looping {
		c.checkEnds(g)
	}
	c.checkSaved(g)
	c.checkOptOut(g)
}

func (c *compiler) checkReached(g graph) {
	entries := []string{c.spec.start.answered.value, c.spec.start.incoming.value}
	if entries[0] == "" && entries[1] == "" {
		return // reported; every step would be
	}
	seen := g.reach(g.numbers(entries))
	for i, s := range c.spec.steps {
		if !seen[i] {
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
func (c *compiler) checkEnds(g graph) {
	var ends []int
	for i, name := range c.program.Order {
		if c.program.Steps[name].canEnd() {
			ends = append(ends, i)
		}
	}
	ending := g.turned().reach(ends)
	var stuck []string
	for i, name := range c.program.Order {
		if !ending[i] {
			stuck = append(stuck, name)
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
func (c *compiler) checkOptOut(g graph) {
	var lists []int
	for i, s := range c.spec.steps {
		if s.optOut.value {
			lists = append(lists, i)
		}
	}
	listed := g.reach(lists)
	for i, s := range c.spec.steps {
		if s.hangup.value == optedOut && !listed[i] {
			c.errorf(s.hangup.at, "add opt_out: true", "step %s ends in %s, but nothing puts the person on the opt-out list", s.name.value, optedOut)
		}
	}
}

const optedOut = string(messages.DispositionOptedOut)

// checkSaved reports answers that no way to the text can have saved.
func (c *compiler) checkSaved(g graph) {
	saved := map[string][]int{} // the steps that follow those that save an answer
	for i, s := range c.spec.steps {
		if name := s.save.value; name != "" {
			saved[name] = append(saved[name], g.leads[i]...)
		}
	}
	after := map[string][]bool{}
	for _, u := range c.uses {
		answer, ok := strings.CutPrefix(u.name, "answers.")
		follow, known := saved[answer]
		if !ok || !known || u.step == "" {
			continue
		}
		if after[answer] == nil {
			after[answer] = g.reach(follow)
		}
		if !after[answer][g.number[u.step]] {
			c.errorf(u.at, "", "${%s} is always empty here: no step that saves it comes before step %s", u.name, u.step)
		}
	}
}
