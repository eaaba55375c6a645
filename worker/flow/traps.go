package flow

import (
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// trap is a place where YAML reads something else than the author sees. Most make
// the file unreadable, and YAML's own message then speaks of something that is not
// there; such traps are reported instead of it. A trap that is there always keeps
// the file readable and loses what it says.
type trap struct {
	at            position
	message, hint string
	always        bool
}

const aliasMessage = "an unquoted * begins a YAML alias"

func aliasHint(name string) string {
	if name != "" {
		return `write the value out, or, for the key, "*` + cut(name) + `" in quotes`
	}
	return `for the key, write "*" in quotes`
}

// findTraps reads the file as a sequence of YAML tokens, no further than needed to
// tell text from structure. It does not judge whether the file is YAML.
func findTraps(lines [][]rune) []trap {
	s := &trapScanner{lines: lines}
	for s.line < len(s.lines) {
		if s.column >= len(s.lines[s.line]) {
			s.nextLine()
			continue
		}
		s.token()
	}
	s.unclosed()
	return s.found
}

// trapScanner is the state of one scan. line and column count from 0; positions it
// hands out count from 1.
type trapScanner struct {
	lines        [][]rune
	line, column int
	open         []position // brackets that are open
	opener       int        // column of the key that owns the outermost open bracket
	owner        int        // column of the last key or dash: deeper lines belong to its value
	valued       bool       // a key stands on this line and its value has begun or must begin
	last         rune       // the last rune that was neither blank nor comment
	running      bool       // an unquoted text inside brackets may go on
	hiding       bool       // a comment inside brackets was reported, or hides a bracket
	found        []trap
}

func (s *trapScanner) at() position { return position{s.line + 1, s.column + 1} }

func (s *trapScanner) add(p position, hint, message string) {
	s.found = append(s.found, trap{at: p, message: message, hint: hint})
}

// rest is what is left of the line.
func (s *trapScanner) rest() []rune { return s.lines[s.line][s.column:] }

// blankAt reports whether the rune i places on is a blank or the line's end.
func (s *trapScanner) blankAt(i int) bool {
	rest := s.rest()
	return i >= len(rest) || rest[i] == ' ' || rest[i] == '\t'
}

func (s *trapScanner) flow() bool { return len(s.open) > 0 }

func (s *trapScanner) skip(n int) {
	for ; n > 0; n-- {
		if c := s.lines[s.line][s.column]; c != ' ' && c != '\t' {
			s.last = c
		}
		s.column++
	}
}

func (s *trapScanner) nextLine() {
	s.line++
	s.column = 0
	s.valued = false
	if !s.flow() || s.line >= len(s.lines) {
		return
	}
	// A line that is not deeper than the key of an open bracket and looks like a key
	// itself: the bracket was meant to be closed before.
	if indent := s.indent(s.line); indent <= s.opener && keyLine.MatchString(string(s.lines[s.line])) {
		s.unclosed()
	}
}

var keyLine = regexp.MustCompile(`^\s*[\w"'-]+:(\s|$)`)

// indent is how many blanks a line begins with.
func (s *trapScanner) indent(line int) int {
	return len(s.lines[line]) - len(strings.TrimLeft(string(s.lines[line]), " \t"))
}

// unclosed reports the brackets that are still open and forgets them.
func (s *trapScanner) unclosed() {
	if s.flow() && !s.hiding {
		p := s.open[len(s.open)-1]
		s.add(p, "", "this "+string(s.lines[p.line-1][p.column-1])+" is never closed")
	}
	s.open, s.hiding = nil, false
}

func (s *trapScanner) token() {
	c := s.rest()[0]
	running := s.running && s.flow() && !strings.ContainsRune(",[]{}:#", c)
	s.running = s.running && unicode.IsSpace(c)
	switch {
	case c == ' ' || c == '\t':
		s.skip(1)
	case running:
		s.plain()
	case c == '#' && (s.column == 0 || unicode.IsSpace(s.lines[s.line][s.column-1])):
		s.comment()
	case c == '"' || c == '\'':
		s.quoted(c)
	case c == '{' || c == '[':
		if !s.flow() {
			s.opener = s.owner
		}
		s.open = append(s.open, s.at())
		s.skip(1)
	case (c == '}' || c == ']') && s.flow():
		s.close(c)
	case (c == '|' || c == '>') && !s.flow():
		s.blockScalar()
	case c == '-' && !s.flow() && s.blankAt(1):
		s.owner, s.valued = s.column, false
		s.skip(1)
	case c == ',' && s.flow(), c == '?' && s.blankAt(1), c == ':' && (s.flow() || s.blankAt(1)):
		s.skip(1)
	case c == '*':
		s.star()
	case c == '&' || c == '!':
		s.skip(len([]rune(s.word())))
	case c == '@' || c == '`' || c == '%' && s.column > 0:
		s.add(s.at(), "put the text in quotes", "unquoted text cannot begin with "+string(c))
		s.skip(len([]rune(s.word())))
	default:
		s.plain()
	}
}

// star reports an alias; where it was meant as a key, its value is read as one.
func (s *trapScanner) star() {
	start, name := s.column, s.word()
	key, isKey := strings.CutSuffix(name, ":")
	s.add(s.at(), aliasHint(key[1:]), aliasMessage)
	s.skip(len([]rune(name)))
	if isKey && !s.flow() {
		s.owner, s.valued = start, true
	}
}

// close takes a closing bracket.
func (s *trapScanner) close(c rune) {
	p := s.open[len(s.open)-1]
	if opening := s.lines[p.line-1][p.column-1]; (opening == '{') != (c == '}') {
		s.unclosed()
	} else {
		s.open = s.open[:len(s.open)-1]
		s.hiding = s.hiding && s.flow()
	}
	s.skip(1)
}

// word is what stands up to the next blank or bracket.
func (s *trapScanner) word() string {
	rest := s.rest()
	end := slices.IndexFunc(rest[1:], func(c rune) bool { return unicode.IsSpace(c) || strings.ContainsRune(",[]{}", c) })
	if end < 0 {
		return string(rest)
	}
	return string(rest[:end+1])
}

var (
	lostRoute     = regexp.MustCompile(`^#\s*:(\s|$)`)
	lostFlowRoute = regexp.MustCompile(`^#[0-9*#A-D]*\s*:(\s|$)`)
	lostValue     = regexp.MustCompile(`^#\s*([,}\]]|$)`)
)

func (s *trapScanner) comment() {
	text := string(s.rest())
	const message = "an unquoted # begins a comment: "
	switch {
	case lostRoute.MatchString(text), s.flow() && lostFlowRoute.MatchString(text):
		key, _, _ := strings.Cut(text, ":")
		s.add(s.at(), `write "`+strings.TrimSpace(key)+`" in quotes`, message+"this route does not exist")
		s.found[len(s.found)-1].always = true
		s.hiding = s.flow()
	case s.flow() && s.last == ':' && lostValue.MatchString(text):
		s.add(s.at(), `write "#" in quotes`, message+"there is no value here")
		s.hiding = true
	case s.flow() && strings.ContainsAny(text, "]}"):
		s.add(s.at(), "quote the text, or move the comment", message+"the bracket after it does not close anything")
		s.hiding = true
	}
	s.column = len(s.lines[s.line])
}

// quoted skips a quoted text, which may span lines, and what must follow it.
func (s *trapScanner) quoted(quote rune) {
	start, owner := s.at(), s.column
	s.skip(1)
	for closed := false; !closed; {
		if s.column >= len(s.lines[s.line]) {
			if s.line+1 >= len(s.lines) {
				s.add(start, "", "this quote is never closed")
				s.line, s.open = len(s.lines), nil
				return
			}
			s.line, s.column = s.line+1, 0
			continue
		}
		rest := s.rest()
		switch {
		case quote == '"' && rest[0] == '\\':
			s.skip(min(2, len(rest)))
		case quote == '\'' && rest[0] == quote && len(rest) > 1 && rest[1] == quote:
			s.skip(2)
		default:
			closed = rest[0] == quote
			s.skip(1)
		}
	}
	for s.column < len(s.lines[s.line]) && s.blankAt(0) {
		s.skip(1)
	}
	if s.column >= len(s.lines[s.line]) {
		return
	}
	switch c := s.rest()[0]; {
	case c == ':':
		if !s.flow() {
			s.owner, s.valued = owner, true
		}
		s.skip(1)
	case c == '#', s.flow() && strings.ContainsRune(",]}", c):
	default:
		hint := `write \" for a quote inside the text`
		if quote == '\'' {
			hint = "write '' for an apostrophe inside the text, or use double quotes"
		}
		s.add(s.at(), hint, "the quoted text ends before this")
		s.column = len(s.lines[s.line])
	}
}

// blockScalar skips a text that begins with | or > and takes every deeper line.
func (s *trapScanner) blockScalar() {
	for s.line++; s.line < len(s.lines); s.line++ {
		if indent := s.indent(s.line); indent <= s.owner && indent < len(s.lines[s.line]) {
			break
		}
	}
	s.line--
	s.column = len(s.lines[s.line])
}

// plain skips an unquoted text, which may span lines, or an unquoted key.
func (s *trapScanner) plain() {
	if s.flow() {
		s.flowPlain()
		return
	}
	start := s.column
	switch end, c := s.plainEnd(); {
	case c == ':' && !s.valued:
		s.skip(end + 1)
		s.owner, s.valued = start, true
		return
	case c == ':':
		s.colon(end)
	default:
		s.skip(end)
		if c == '#' {
			return
		}
	}
	for s.line+1 < len(s.lines) {
		indent := s.indent(s.line + 1)
		if blank := indent == len(s.lines[s.line+1]); !blank && (indent <= s.owner || s.lines[s.line+1][indent] == '#') {
			return
		}
		s.line, s.column = s.line+1, indent
		switch end, c := s.plainEnd(); c {
		case ':':
			s.colon(end)
		default:
			s.skip(end)
			if c == '#' {
				return
			}
		}
	}
}

// colon reports a ": " in the middle of an unquoted text and skips the line.
func (s *trapScanner) colon(end int) {
	s.skip(end)
	s.add(s.at(), "put the whole text in quotes, or mend the indentation", `": " inside unquoted text`)
	s.column = len(s.lines[s.line])
}

// plainEnd finds where an unquoted text outside brackets ends on this line, and
// at what: a colon, a comment, or 0 for the line's end.
func (s *trapScanner) plainEnd() (end int, c rune) {
	for i, c := range s.rest() {
		switch {
		case c == ':' && s.blankAt(i+1):
			return i, ':'
		case c == '#' && i > 0 && s.blankAt(i-1):
			return i, '#'
		}
	}
	return len(s.rest()), 0
}

// flowPlain skips an unquoted text inside brackets, on this line.
func (s *trapScanner) flowPlain() {
	for s.column < len(s.lines[s.line]) {
		rest := s.rest()
		switch c := rest[0]; {
		case c == '$' && len(rest) > 1 && rest[1] == '{':
			s.add(s.at(), "put the whole text in quotes", "unquoted ${…} inside { }: YAML takes its { for another map")
			end := slices.Index(rest, '}')
			if end < 0 {
				end = len(rest) - 1
			}
			s.skip(end + 1)
		case strings.ContainsRune(",[]{}", c), c == ':' && (s.blankAt(1) || strings.ContainsRune(",[]{}", rest[1])):
			return
		case c == '#' && s.column > 0 && unicode.IsSpace(s.lines[s.line][s.column-1]):
			return
		default:
			s.skip(1)
		}
	}
	s.running = true
}
