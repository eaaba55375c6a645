package flow

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxDepth is how deep maps may nest; the language itself needs five.
const maxDepth = 16

// position is a place in the file, both from 1. The zero position is nowhere: what
// has it does not stand in the file.
type position struct{ line, column int }

func (p position) ok() bool { return p.line > 0 }

func at(n *yaml.Node) position { return position{max(n.Line, 1), max(n.Column, 1)} }

// source is a flow file as text.
type source struct {
	bytes []byte
	lines [][]rune // without their line breaks
}

// find is where the next "${" from a position on stands: variables are reported
// where they are, not where their text begins.
func (s *source) find(from position) (p position, ok bool) {
	for line := from.line; line <= len(s.lines); line++ {
		runes := s.lines[line-1]
		i := 0
		if line == from.line {
			i = from.column - 1
		}
		for ; i+1 < len(runes); i++ {
			if runes[i] == '$' && runes[i+1] == '{' {
				return position{line, i + 1}, true
			}
		}
	}
	return position{}, false
}

// commentFollows reports whether what stands at a position is a comment.
func (s *source) commentFollows(p position) bool {
	if p.line > len(s.lines) {
		return false
	}
	runes := s.lines[p.line-1]
	rest := strings.TrimSpace(string(runes[min(p.column-1, len(runes)):]))
	return strings.HasPrefix(rest, "#")
}

// parse reads the file as one YAML document and returns its root, or nil when that
// cannot be done or the file is not of this language at all. Every reason is
// reported.
func (r *report) parse(file []byte) (*source, *yaml.Node) {
	src := &source{bytes: file}
	top := position{1, 1}
	if len(file) > MaxSource {
		r.errorf(top, "", "the file has %d bytes, more than %d", len(file), MaxSource)
		return src, nil
	}
	if !utf8.Valid(file) {
		r.errorf(invalidUTF8(file), "save the file as UTF-8", "the file is not UTF-8")
		return src, nil
	}
	src.lines = splitLines(file)

	doc, next, err := decode(file)
	for _, t := range findTraps(src.lines) {
		if t.always || err != nil {
			r.errorf(t.at, t.hint, "%s", t.message)
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		r.errorf(top, "a flow needs name, start and steps", "the file is empty")
		return src, nil
	case err != nil:
		if len(r.problems) > 0 {
			return src, nil
		}
		place := src.placeOf(err)
		if line := string(src.lines[place.line-1]); strings.Contains(line[:len(line)-len(strings.TrimLeft(line, " \t"))], "\t") {
			r.errorf(place, "indent with spaces", "this is not YAML: a tab in the indentation")
		} else {
			r.errorf(place, "", "this is not YAML: %s", yamlMessage(err))
		}
		return src, nil
	case next != nil:
		r.errorf(at(next), "give each flow a file of its own", "a second YAML document begins here")
	}
	root := doc.Content[0]
	r.plainYAML(root, 1)
	return src, root
}

// decode parses the first document and, where there is one, the second.
func decode(file []byte) (doc, next *yaml.Node, err error) {
	d := yaml.NewDecoder(bytes.NewReader(file))
	var first, second yaml.Node
	if err := d.Decode(&first); err != nil {
		return nil, nil, err
	}
	switch err := d.Decode(&second); {
	case errors.Is(err, io.EOF):
		return &first, nil, nil
	case err != nil:
		return nil, nil, err
	}
	return &first, &second, nil
}

// plainYAML reports every use of YAML that the language leaves out because a
// reader of the file would have to look elsewhere to know what it says.
func (r *report) plainYAML(n *yaml.Node, depth int) {
	if depth > maxDepth {
		r.errorf(at(n), "", "the file is nested more than %d deep", maxDepth)
		return
	}
	switch {
	case n.Kind == yaml.AliasNode:
		r.errorf(at(n), aliasHint(n.Value), "%s", aliasMessage)
	case n.Anchor != "":
		r.errorf(at(n), "write it out", "YAML anchors (&%s) are not part of the language", n.Anchor)
	case n.Style&yaml.TaggedStyle != 0:
		r.errorf(at(n), "leave it out, or quote the text", "YAML tags (%s) are not part of the language", n.Tag)
	case isMerge(n):
		r.errorf(at(n), "write the keys out", "YAML merge keys (<<) are not part of the language")
	}
	for _, c := range n.Content {
		r.plainYAML(c, depth+1)
	}
}

func isMerge(n *yaml.Node) bool { return n.Tag == "!!merge" && n.Style == 0 }

// placeOf is where the YAML reader gave up. Its error has no column and often the
// wrong line, so the file is read again, byte by byte, to see how far it came.
func (s *source) placeOf(yamlError error) position {
	in := &byteReader{rest: s.bytes}
	d := yaml.NewDecoder(in)
	for range 2 { // the second document may be the broken one
		var n yaml.Node
		if err := d.Decode(&n); err != nil && err.Error() == yamlError.Error() {
			break
		}
	}
	read := strings.TrimRight(string(s.bytes[:len(s.bytes)-len(in.rest)]), " \t\r\n")
	lines := splitLines([]byte(read))
	last := len(lines)
	return position{max(last, 1), max(len(lines[last-1]), 1)}
}

// byteReader hands out one byte at a time, so that rest is what nobody needed.
type byteReader struct{ rest []byte }

func (b *byteReader) Read(p []byte) (int, error) {
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(1, len(p))], b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

var yamlPrefix = regexp.MustCompile(`^yaml: (line \d+: )?`)

func yamlMessage(err error) string { return yamlPrefix.ReplaceAllString(err.Error(), "") }

func invalidUTF8(file []byte) position {
	p := position{1, 1}
	for len(file) > 0 {
		c, size := utf8.DecodeRune(file)
		switch {
		case c == utf8.RuneError && size == 1:
			return p
		case c == '\n':
			p = position{p.line + 1, 1}
		default:
			p.column++
		}
		file = file[size:]
	}
	return p
}

// splitLines cuts a file where YAML does and drops a byte order mark, which YAML
// does not count as a column.
func splitLines(file []byte) [][]rune {
	text := strings.TrimPrefix(string(file), "\ufeff")
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var lines [][]rune
	line := []rune{}
	for _, c := range text {
		switch c {
		case '\n', '\r', '\u0085', '\u2028', '\u2029':
			lines = append(lines, line)
			line = []rune{}
		default:
			line = append(line, c)
		}
	}
	return append(lines, line)
}
