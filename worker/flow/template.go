package flow

import (
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// callFacts are what a text may say of the call itself, as call.<fact>.
var callFacts = []string{"id", "direction", "from", "to", "attempt", "answered_at"}

// use is one ${…} of a text.
type use struct {
	step string // where it is said; empty for the question block
	name string
	at   position
}

// template cuts a text into words and variables. $${ is a ${ that stands for
// itself. What is broken is reported and left as it is written.
func (c *compiler) template(step string, s written[string], escape escape) Text {
	t := Text{source: s.value, escape: escape}
	words := func(w string) {
		if n := len(t.parts); n > 0 && t.parts[n-1].name == "" {
			t.parts[n-1].words += w
		} else if w != "" {
			t.parts = append(t.parts, part{words: w})
		}
	}
	// Where a text is written in a way that hides a ${, such as an escape, it is
	// reported where the text begins.
	search, rest := s.at, s.value
	for {
		before, after, found := strings.Cut(rest, "${")
		if !found {
			words(rest)
			return t
		}
		var place position
		if found, ok := c.src.find(search); ok {
			place, search = found, position{found.line, found.column + 2}
		} else {
			place, search = s.at, position{len(c.src.lines) + 1, 1}
		}
		if literal, ok := strings.CutSuffix(before, "$"); ok {
			words(literal + "${")
			rest = after
			continue
		}
		words(before)
		name, next, closed := strings.Cut(after, "}")
		if !closed {
			c.errorf(place, "write $${ for a ${ that is to be said", "this ${ is never closed")
			words("${" + after)
			return t
		}
		t.parts = append(t.parts, part{name: name})
		c.uses = append(c.uses, use{step: step, name: name, at: place})
		rest = next
	}
}

// speech compiles the text of a speak.
func (c *compiler) speech(step string, s written[string]) Text {
	escape := escapeNothing
	if strings.HasPrefix(strings.TrimSpace(s.value), "<speak") {
		escape = escapeSSML
	}
	t := c.template(step, s, escape)
	// A value with every reserved character shows a variable that stands where no
	// value can, such as in the name of a tag.
	sample := func(string) string { return "x" }
	if escape == escapeSSML {
		sample = func(string) string { return `<x&"'>` }
	}
	if err := (telesign.Speak{Message: t.Render(sample)}).Validate(); err != nil {
		c.errorf(s.at, "", "speak %s", reason(err))
	} else if tag := tagShape.FindString(s.value); escape == escapeNothing && tag != "" {
		c.errorf(s.at, "put the whole text inside <speak>…</speak>", "speak has the tag %s in plain text, it would be read out", cut(tag))
	}
	return t
}

var tagShape = regexp.MustCompile(`</?[a-z][a-z0-9:-]*(\s[^<>]*)?/?>`)

// url compiles the address of a play.
func (c *compiler) url(step string, s written[string]) Text {
	t := c.template(step, s, escapeURL)
	scheme, rest, found := strings.Cut(s.value, "://")
	host, _, _ := strings.Cut(rest, "/")
	switch {
	case !found:
		hint := ""
		if hostLike.MatchString(s.value) {
			hint = "did you mean https://" + cut(s.value) + "?"
		}
		c.errorf(s.at, hint, "play is %q, want a URL such as https://audio.example.com/hello.wav", cut(s.value))
	case strings.Contains(scheme+host, "${"):
		c.errorf(s.at, "", "play has a variable in the host of its URL: a contact must not choose the server")
	case scheme != "https" && scheme != "http":
		c.errorf(s.at, c.didYouMean(scheme, []string{"https", "http"}), "play has the scheme %q, want https or http", cut(scheme))
	default:
		if err := (telesign.Play{URL: t.Render(func(string) string { return "x" })}).Validate(); err != nil {
			c.errorf(s.at, "", "play %s", reason(err))
		}
	}
	return t
}

var hostLike = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+/`)

// reason is an error of messages/telesign without the name of the parameter, which
// is not the author's.
func reason(err error) string {
	var e *messages.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// checkVariables checks the name of every variable, and that every column is used.
func (c *compiler) checkVariables() {
	columns, answers := map[string]bool{}, map[string]bool{}
	var known []string
	add := func(scope string, name string, in map[string]bool) {
		if !in[name] {
			in[name] = true
			known = append(known, scope+"."+name)
		}
	}
	for _, s := range c.spec.contact {
		add("contact", s.name.value, columns)
	}
	for _, s := range c.spec.steps {
		if s.save.value != "" {
			add("answers", s.save.value, answers)
		}
	}
	for _, f := range callFacts {
		known = append(known, "call."+f)
	}

	used := map[string]bool{}
	for _, u := range c.uses {
		scope, name, _ := strings.Cut(u.name, ".")
		switch {
		case scope == "contact" && columns[name]:
			used[name] = true
		case scope == "answers" && answers[name], scope == "call" && slices.Contains(callFacts, name):
		default:
			c.unknownVariable(u, known)
		}
	}
	for _, s := range c.spec.contact {
		if !used[s.name.value] {
			c.warnf(s.name.at, "", "contact column %s is never used", s.name.value)
		}
	}
}

func (c *compiler) unknownVariable(u use, known []string) {
	scope, name, dotted := strings.Cut(u.name, ".")
	meant := c.nearest(u.name, known)
	if i := slices.IndexFunc(known, func(k string) bool { return strings.HasSuffix(k, "."+u.name) }); i >= 0 && !dotted {
		meant = known[i]
	}
	hint := "known are " + list(known, "none")
	switch {
	case meant != "":
		hint = "did you mean ${" + meant + "}?"
	case scope == "contact" && nameShape.MatchString(name):
		hint = "name the column under contact"
	case scope == "answers" && wordShape.MatchString(name):
		hint = "no step has save: " + name
	}
	c.errorf(u.at, hint, "unknown variable ${%s}", cut(u.name))
}
