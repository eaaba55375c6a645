package flow

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// written is a value and where the file says it. The zero one is not in the file;
// one that has a place but the zero value stands there and could not be read, which
// has been reported.
type written[T any] struct {
	value T
	at    position
}

func (w written[T]) ok() bool { return w.at.ok() }

// or is w, or base where the file does not say w.
func (w written[T]) or(base written[T]) written[T] {
	if w.ok() {
		return w
	}
	return base
}

// field is one key of a map of the language and what reads its value. Each map of
// the language is a list of fields; see spec.go.
type field struct {
	name string
	read func(r *reader, name string, n *yaml.Node)
}

// reader turns YAML nodes into typed values and reports what does not fit. It keeps
// going: a value that cannot be read is left zero.
type reader struct {
	*report
	src *source
}

// fields reads a map of the language.
func (r *reader) fields(what string, n *yaml.Node, fields []field) {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.name
	}
	present := map[string]bool{}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		present[n.Content[i].Value] = true
	}
	r.entries(what, "a map of "+list(names, ""), n, func(key written[string], value *yaml.Node) {
		i := slices.Index(names, key.value)
		if i < 0 {
			hint := elsewhere(key.value)
			meant := r.nearest(key.value, names)
			if other := lastWord(otherWords[strings.ToLower(key.value)]); meant == "" && slices.Contains(names, other) {
				meant = other
			}
			switch {
			case meant != "":
				hint = "did you mean " + meant + "?"
			case hint == "":
				hint = "it knows " + strings.Join(names, ", ")
			}
			r.errorf(key.at, hint, "unknown key %q in %s", cut(key.value), what)
			// Read it as what was meant, so that its absence is not reported as well.
			if meant == "" || present[meant] {
				return
			}
			present[meant] = true
			i = slices.Index(names, meant)
		}
		fields[i].read(r, fields[i].name, value)
	})
}

func lastWord(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }

// entries calls each for every key of a map, in order. Keys are their text in the
// file, whatever YAML would make of it: 007 is 007, no is no. kind says what is
// wanted when there is no map.
func (r *reader) entries(what, kind string, n *yaml.Node, each func(key written[string], value *yaml.Node)) {
	if n.Kind != yaml.MappingNode {
		r.wants(kind, what, n)
		return
	}
	first := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		key := written[string]{k.Value, at(k)}
		before, twice := first[key.value]
		switch {
		case k.Kind == yaml.AliasNode || isMerge(k): // reported before
		case k.Kind != yaml.ScalarNode:
			r.errorf(key.at, "", "a key of %s must be a single word", what)
		case k.Value == "":
			r.errorf(key.at, "", "a key of %s is empty", what)
		case twice:
			hint := "keep one of them"
			if before.Style != k.Style {
				hint += ": quotes make no difference"
			}
			r.errorf(key.at, hint, "%s has the key %q twice, first in line %d", what, cut(key.value), before.Line)
		default:
			first[key.value] = k
			if isNull(v) && k.Style == 0 && strings.Contains(k.Value, ":") {
				key.value, v = r.gluedColon(k)
			}
			each(key, v)
		}
	}
}

// gluedColon reports {1:a}, which YAML reads as the one word "1:a", and returns
// what was meant.
func (r *reader) gluedColon(n *yaml.Node) (key string, value *yaml.Node) {
	key, rest, _ := strings.Cut(n.Value, ":")
	r.errorf(at(n), fmt.Sprintf("write %q: %s", cut(key), cut(rest)), "without a space after the colon %q is one word", cut(n.Value))
	return key, &yaml.Node{Kind: yaml.ScalarNode, Style: yaml.DoubleQuotedStyle, Value: rest, Line: n.Line, Column: n.Column + len([]rune(key)) + 1}
}

// wants reports a value of the wrong kind.
func (r *reader) wants(kind, what string, n *yaml.Node) {
	p := at(n)
	switch {
	case n.Kind == yaml.AliasNode: // reported before
	case isNull(n) && r.src.commentFollows(p):
		r.errorf(p, `an unquoted # begins a comment: write "#" in quotes if it is meant`, "%s is empty", what)
	case isNull(n):
		r.errorf(p, "", "%s is empty, want %s", what, kind)
	case n.Kind == yaml.ScalarNode && n.Style == 0 && gluedEntry.MatchString(n.Value):
		r.gluedColon(n)
	case n.Kind == yaml.MappingNode:
		r.errorf(p, "", "%s is a map, want %s", what, kind)
	case n.Kind == yaml.SequenceNode:
		r.errorf(p, "", "%s is a list, want %s", what, kind)
	default:
		r.errorf(p, "", "%s is %q, want %s", what, cut(n.Value), kind)
	}
}

var gluedEntry = regexp.MustCompile(`^[\w*#]+:\S`)

// isNull reports whether nothing stands there: no text at all, or an unquoted ~ or
// null.
func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Style == 0 && n.Tag == "!!null"
}

// cut shortens a text for a message.
func cut(s string) string {
	const enough = 40
	if runes := []rune(s); len(runes) > enough {
		return string(runes[:enough]) + "…"
	}
	return s
}
