package flow

import (
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/offhook/offhook/messages/telesign"
)

// The types here are the file as its author wrote it, each value with its place.
// Their fields methods are the language's keys, and the only place that knows them.

type flowSpec struct {
	name, language written[string]
	contact        []columnSpec
	question       written[questionSpec]
	start          startSpec
	steps          []*stepSpec
	at             struct{ contact, start, steps position }
}

func (s *flowSpec) fields() []field {
	return []field{
		{"name", name(&s.name)},
		{"language", language(&s.language)},
		{"contact", s.readContact},
		{"question", s.readQuestion},
		{"start", s.readStart},
		{"steps", s.readSteps},
	}
}

type columnSpec struct {
	name written[string]
	word string // said when the contact's own is empty; empty for a required column
}

func (s *flowSpec) readContact(r *reader, what string, n *yaml.Node) {
	s.at.contact = at(n)
	r.entries(what, "a map such as { first_name: there }", n, func(key written[string], value *yaml.Node) {
		if _, hint, ok := parseName(key.value); !ok {
			r.errorf(key.at, hint, "contact column %q is not a name of letters, digits, - and _, at most %d", cut(key.value), MaxName)
		}
		c := columnSpec{name: key}
		if blank := isNull(value) || value.Kind == yaml.ScalarNode && strings.TrimSpace(value.Value) == ""; !blank {
			var said written[string]
			text(&said, "a word")(r, key.value, value)
			c.word = said.value
			if strings.Contains(c.word, "${") {
				r.errorf(said.at, "", "the word for an empty %s is said as it is, it cannot hold ${…}", key.value)
			}
		}
		s.contact = append(s.contact, c)
	})
}

func (s *flowSpec) readQuestion(r *reader, what string, n *yaml.Node) {
	s.question.at = at(n)
	r.fields(what, n, s.question.value.fields())
}

func (s *flowSpec) readSteps(r *reader, what string, n *yaml.Node) {
	s.at.steps = at(n)
	if n.Kind == yaml.MappingNode && len(n.Content) == 0 {
		r.errorf(at(n), "", "steps has no step")
	}
	r.entries(what, "a map of steps", n, func(key written[string], value *yaml.Node) {
		switch {
		case key.value == TargetHangup || key.value == TargetRepeat:
			r.errorf(key.at, "choose another name", "%s is built in and cannot be the name of a step", key.value)
			return
		case len(s.steps) == MaxSteps:
			r.errorf(key.at, "", "the flow has more than %d steps; the rest is not read", MaxSteps)
			fallthrough
		case len(s.steps) > MaxSteps:
			s.steps = append(s.steps, &stepSpec{name: key, broken: true})
			return
		}
		if _, hint, ok := parseName(key.value); !ok {
			r.errorf(key.at, hint, "step %q is not a name of letters, digits, - and _, at most %d", cut(key.value), MaxName)
		}
		step := &stepSpec{name: key, broken: value.Kind != yaml.MappingNode}
		s.steps = append(s.steps, step)
		r.fields("step "+cut(key.value), value, step.fields())
	})
}

type startSpec struct {
	answered, incoming, notAnswered written[string]
	broken                          bool // it is no map, which has been reported
}

func (s *startSpec) fields() []field {
	return []field{
		{"answered", target(&s.answered)},
		{"incoming", target(&s.incoming)},
		{"not_answered", target(&s.notAnswered)},
	}
}

func (s *flowSpec) readStart(r *reader, what string, n *yaml.Node) {
	s.at.start = at(n)
	s.start.broken = n.Kind != yaml.MappingNode
	r.fields(what, n, s.start.fields())
}

type stepSpec struct {
	name     written[string]
	prompt   promptSpec
	question questionSpec
	digits   written[[]routeSpec]
	accept   written[[]acceptSpec]
	save     written[string]
	next     written[string]
	hangup   written[string]
	optOut   written[bool]
	broken   bool // it is no map or was not read, which has been reported
}

func (s *stepSpec) fields() []field {
	fields := append(s.prompt.fields(), s.question.fields()...)
	return append(fields,
		field{"digits", routes(&s.digits)},
		field{"accept", accepts(&s.accept)},
		field{"save", word(&s.save)},
		field{"next", target(&s.next)},
		field{"hangup", disposition(&s.hangup)},
		field{"opt_out", flag(&s.optOut)},
	)
}

// listens reports whether the step says that it listens.
func (s *stepSpec) listens() bool {
	return s.question.collect.ok() || s.digits.ok() || s.accept.ok() || s.save.ok()
}

type promptSpec struct{ play, speak, language written[string] }

func (s *promptSpec) fields() []field {
	return []field{
		{"play", text(&s.play, "a URL")},
		{"speak", text(&s.speak, "a text")},
		{"language", language(&s.language)},
	}
}

// says reports whether there is something to say.
func (s promptSpec) says() bool { return s.play.ok() || s.speak.ok() }

type questionSpec struct {
	collect          written[collectSpec]
	tries            written[int]
	noInput, invalid written[retrySpec]
	keys             written[[]routeSpec]
}

func (s *questionSpec) fields() []field {
	return []field{
		{"collect_digits", func(r *reader, what string, n *yaml.Node) {
			s.collect.at = at(n)
			r.fields(what, n, s.collect.value.fields())
		}},
		{"tries", number(&s.tries, MaxTries)},
		{"no_input", retry(&s.noInput)},
		{"invalid", retry(&s.invalid)},
		{"keys", routes(&s.keys)},
	}
}

// over is the question of a step: what the step names itself, the rest from the
// flow's question block, maps key by key.
func (s questionSpec) over(block questionSpec) questionSpec {
	return questionSpec{
		collect: written[collectSpec]{s.collect.value.over(block.collect.value), s.collect.or(block.collect).at},
		tries:   s.tries.or(block.tries),
		noInput: written[retrySpec]{s.noInput.value.over(block.noInput.value), s.noInput.or(block.noInput).at},
		invalid: written[retrySpec]{s.invalid.value.over(block.invalid.value), s.invalid.or(block.invalid).at},
		keys:    written[[]routeSpec]{mergeRoutes(block.keys.value, s.keys.value), s.keys.or(block.keys).at},
	}
}

type collectSpec struct {
	max                 written[int]
	timeout, interDigit written[time.Duration]
	terminators         written[string]
}

func (s *collectSpec) fields() []field {
	return []field{
		{"max", number(&s.max, telesign.MaxCollectDigits)},
		{"timeout", duration(&s.timeout)},
		{"inter_digit_timeout", duration(&s.interDigit)},
		{"terminators", scalar(&s.terminators, "keys out of 0-9 * # A-D, each once", parseTerminators)},
	}
}

func (s collectSpec) over(block collectSpec) collectSpec {
	return collectSpec{
		max:         s.max.or(block.max),
		timeout:     s.timeout.or(block.timeout),
		interDigit:  s.interDigit.or(block.interDigit),
		terminators: s.terminators.or(block.terminators),
	}
}

type retrySpec struct {
	prompt promptSpec
	tries  written[int]
	next   written[string]
}

func (s *retrySpec) fields() []field {
	return append(s.prompt.fields(), field{"tries", number(&s.tries, MaxTries)}, field{"next", target(&s.next)})
}

// over merges all but what is said, which is one field and is compiled where it is
// written; see compiler.retry.
func (s retrySpec) over(block retrySpec) retrySpec {
	return retrySpec{tries: s.tries.or(block.tries), next: s.next.or(block.next)}
}

// retry reads a retry, which may be a bare target.
func retry(dst *written[retrySpec]) func(*reader, string, *yaml.Node) {
	return func(r *reader, what string, n *yaml.Node) {
		dst.at = at(n)
		if n.Kind == yaml.ScalarNode && !isNull(n) {
			target(&dst.value.next)(r, what, n)
			return
		}
		r.fields(what, n, dst.value.fields())
	}
}

// elsewhere says where a key belongs that does not belong where it stands.
func elsewhere(key string) string {
	var (
		flow    flowSpec
		step    stepSpec
		collect collectSpec
	)
	for _, place := range []struct {
		name   string
		fields []field
	}{
		{"collect_digits", collect.fields()},
		{"start", flow.start.fields()},
		{"the question block or a step", step.question.fields()},
		{"a step", step.fields()},
		{"the flow itself", flow.fields()},
	} {
		if slices.ContainsFunc(place.fields, func(f field) bool { return f.name == key }) {
			return key + " belongs to " + place.name
		}
	}
	if word := otherWords[strings.ToLower(key)]; word != "" {
		return "the word here is " + word
	}
	return ""
}

// otherWords is what other systems call the words of this language.
var otherWords = map[string]string{
	"say": "speak", "text": "speak", "message": "speak", "tts": "speak", "audio": "play", "url": "play",
	"goto": "next", "then": "next", "retries": "tries", "attempts": "tries", "options": "digits", "choices": "digits",
	"routes": "digits", "answers": "accept", "values": "accept", "variable": "save", "optout": "opt_out", "lang": "language",
	"max_digits": "collect_digits.max", "maximum": "collect_digits.max", "num_digits": "collect_digits.max", "finish_on_key": "collect_digits.terminators",
	"disposition": "hangup", "end": "hangup", "gather": "collect_digits",
}
