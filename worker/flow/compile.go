package flow

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/offhook/offhook/messages"
)

// Compile turns a flow file into the program that calls run. file is its name in
// messages and is not opened. The error is Problems when the file is wrong, all of
// its errors and no warnings; see Check.
func Compile(file string, source []byte) (*Program, error) {
	program, problems := compile(file, source)
	if errs := problems.Errors(); len(errs) > 0 {
		return nil, errs
	}
	return program, nil
}

// Check reports everything that is wrong with a flow file, errors and warnings, by
// line and column. Compile succeeds exactly when there is no error among them.
func Check(file string, source []byte) Problems {
	_, problems := compile(file, source)
	return problems
}

// Hash names the content of a flow file: the first 32 hex digits of its SHA-256.
func Hash(source []byte) string {
	sum := sha256.Sum256(source)
	return hex.EncodeToString(sum[:16])
}

// compiler turns what the author wrote into a program, and reports what does not
// hold together. Every pass goes on where the one before found something wrong.
type compiler struct {
	*report
	src     *source
	spec    flowSpec
	byName  map[string]*stepSpec
	program *Program
	uses    []use // of variables, in every text
	// What no_input and invalid of the question block say; they are compiled once,
	// not for every step that uses them.
	blockNoInput, blockInvalid Prompt
}

func compile(file string, source []byte) (*Program, Problems) {
	c := &compiler{report: &report{file: file}, byName: map[string]*stepSpec{}}
	src, root := c.parse(source)
	if root == nil {
		return nil, c.sorted()
	}
	c.src = src
	(&reader{report: c.report, src: src}).fields("the flow", root, c.spec.fields())
	for _, s := range c.spec.steps {
		c.byName[s.name.value] = s
	}
	if root.Kind != yaml.MappingNode {
		return nil, c.sorted()
	}
	c.required(at(root))
	c.resolve()
	c.build(source)
	c.checkVariables()
	c.checkGraph()
	return c.program, c.sorted()
}

// required reports what every flow must have.
func (c *compiler) required(top position) {
	s := &c.spec
	switch {
	case !s.name.ok():
		c.errorf(top, "name: my-flow", "the flow has no name")
	case s.name.value != "" && !messages.ValidToken(s.name.value):
		c.errorf(s.name.at, "", "name is %q, want letters, digits, - and _", s.name.value)
	}
	if !s.at.steps.ok() {
		c.errorf(top, "", "the flow has no steps")
	}
	if !s.at.start.ok() {
		c.errorf(top, "start: { answered: …, incoming: … }, one of them or both", "the flow has no start")
	} else if !s.start.answered.ok() && !s.start.incoming.ok() && !s.start.broken {
		c.errorf(s.at.start, "name answered, incoming or both", "start has no entry: no call could ever begin")
	}
}

// resolve checks every target. One that is unknown but near to a step is taken for
// that step from here on, so that nothing else is reported because of it.
func (c *compiler) resolve() {
	names := make([]string, 0, len(c.spec.steps))
	for _, s := range c.spec.steps {
		names = append(names, s.name.value)
	}
	start := &c.spec.start
	c.target(&start.answered, names, TargetHangup)
	c.target(&start.incoming, names, TargetHangup)
	if n := start.notAnswered; n.value != "" && n.value != TargetHangup {
		c.errorf(n.at, "not_answered: hangup, or leave it out", "start.not_answered is %q: nobody is there to hear a step", cut(n.value))
	}
	c.targets(&c.spec.question.value, names)
	for _, s := range c.spec.steps {
		c.target(&s.next, names, TargetHangup)
		for i := range s.digits.value {
			c.target(&s.digits.value[i].target, names, TargetHangup, TargetRepeat)
		}
		c.targets(&s.question, names)
	}
}

// targets checks those of a question.
func (c *compiler) targets(q *questionSpec, names []string) {
	c.target(&q.noInput.value.next, names, TargetHangup)
	c.target(&q.invalid.value.next, names, TargetHangup)
	for i := range q.keys.value {
		c.target(&q.keys.value[i].target, names, TargetHangup, TargetRepeat)
	}
}

func (c *compiler) target(t *written[string], names []string, builtIn ...string) {
	if t.value == "" || c.byName[t.value] != nil || slices.Contains(builtIn, t.value) {
		return
	}
	if t.value == TargetRepeat {
		c.errorf(t.at, "a question is asked again by itself, as often as tries says", "repeat can stand only in keys and digits")
		t.value = ""
		return
	}
	meant := c.nearest(t.value, append(slices.Clone(builtIn), names...))
	hint := "the steps are " + list(names, "none")
	if meant != "" {
		hint = "did you mean " + meant + "?"
	}
	c.errorf(t.at, hint, "there is no step %q", cut(t.value))
	t.value = meant
}

// build makes the program.
func (c *compiler) build(source []byte) {
	spec := &c.spec
	c.program = &Program{
		Name:     spec.name.value,
		Hash:     Hash(source),
		Language: spec.language.value,
		Source:   bytes.Clone(source),
		Start:    Start{Answered: spec.start.answered.value, Incoming: spec.start.incoming.value},
		Steps:    make(map[string]*Step, len(spec.steps)),
	}
	for _, s := range spec.contact {
		c.program.Contact = append(c.program.Contact, Column{Name: s.name.value, Default: s.word, Required: s.word == ""})
	}
	block := &spec.question.value
	c.blockNoInput = c.prompt("", block.noInput.value.prompt, "")
	c.blockInvalid = c.prompt("", block.invalid.value.prompt, "")
	for _, s := range spec.steps {
		c.program.Order = append(c.program.Order, s.name.value)
		c.program.Steps[s.name.value] = c.step(s)
	}
	c.checkBlock()
}

func (c *compiler) step(s *stepSpec) *Step {
	step := &Step{
		Name:   s.name.value,
		Line:   s.name.at.line,
		Column: s.name.at.column,
		Prompt: c.prompt(s.name.value, s.prompt, ""),
		Next:   s.next.value,
		Hangup: s.hangup.value,
		OptOut: s.optOut.value,
	}
	c.checkStep(s)
	if s.listens() {
		merged := s.question.over(c.spec.question.value)
		step.Question = c.question(s, merged)
		c.checkQuestion(s, merged, step.Question)
	}
	return step
}

// prompt is what a step, or the question block where step is empty, says. language
// is that of the step; the flow's own stands where neither names one.
func (c *compiler) prompt(step string, s promptSpec, language string) Prompt {
	p := Prompt{Language: c.spec.language.value}
	if language != "" {
		p.Language = language
	}
	if s.language.value != "" {
		p.Language = s.language.value
	}
	if s.play.value != "" {
		p.Play = c.url(step, s.play)
	}
	if s.speak.value != "" {
		p.Speak = c.speech(step, s.speak)
	}
	return p
}

// question is what a step listens for; m is its own words merged with the block's.
func (c *compiler) question(s *stepSpec, m questionSpec) *Question {
	q := &Question{
		Tries:  DefaultTries,
		Save:   s.save.value,
		Open:   !s.digits.ok() && !s.accept.ok(),
		Routes: routeMap(s.digits.value),
		Keys:   routeMap(m.keys.value),
	}
	q.Any = q.Open && !s.save.ok() && !m.noInput.ok() && !m.invalid.ok() && !m.keys.ok()
	for _, a := range s.accept.value {
		q.Accept = append(q.Accept, a.entry)
	}
	collect := m.collect.value
	q.Collect.Max = collect.max.value
	if q.Collect.Max == 0 {
		q.Collect.Max = q.longest()
	}
	q.Collect.Timeout = collect.timeout.value
	q.Collect.InterDigitTimeout = collect.interDigit.value
	q.Collect.Terminators = collect.terminators.value
	if m.tries.value > 0 {
		q.Tries = m.tries.value
	}
	if q.Any {
		q.Tries = 1
		return q
	}
	own := &s.question
	q.NoInput = c.retry(s, own.noInput.value, m.noInput.value, c.blockNoInput)
	if !q.Open {
		q.Invalid = c.retry(s, own.invalid.value, m.invalid.value, c.blockInvalid)
	}
	return q
}

// retry is no_input or invalid of a step. A step that names a part of what is said
// replaces the block's, lest the audio of one be heard with the text of the other.
func (c *compiler) retry(s *stepSpec, own, merged retrySpec, block Prompt) Retry {
	r := Retry{Prompt: block, Tries: merged.tries.value, Next: merged.next.value}
	if own.prompt.says() {
		r.Prompt = c.prompt(s.name.value, own.prompt, s.prompt.language.value)
	}
	return r
}

func routeMap(routes []routeSpec) map[string]string {
	if len(routes) == 0 {
		return nil
	}
	m := make(map[string]string, len(routes))
	for _, r := range routes {
		m[r.key.value] = r.target.value
	}
	return m
}

// longest is the length of the longest entry that means something, at least 1.
func (q *Question) longest() int {
	n := 1
	for key := range q.Routes {
		n = max(n, len(key))
	}
	for key := range q.Keys {
		n = max(n, len(key))
	}
	for _, a := range q.Accept {
		n = max(n, len(a.From), len(a.To))
	}
	return n
}
