package telesign

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

var ssmlReplacer = strings.NewReplacer(`&`, "&amp;", `<`, "&lt;", `>`, "&gt;", `"`, "&quot;", `'`, "&apos;")

// EscapeSSML makes s safe to stand as text in SSML: the five reserved characters
// are escaped, and what XML cannot hold at all (control characters, broken UTF-8)
// becomes a space.
func EscapeSSML(s string) string {
	return ssmlReplacer.Replace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !isXMLChar(r) {
			return ' '
		}
		return r
	}, s))
}

// isXMLChar reports whether XML 1.0 can hold r.
func isXMLChar(r rune) bool {
	return r == '\t' || r == '\n' || r == '\r' ||
		r >= 0x20 && r <= 0xD7FF || r >= 0xE000 && r <= 0xFFFD || r >= 0x10000 && r <= 0x10FFFF
}

// ValidateSSML checks a message for speak. Plain text is fine as it is. SSML must
// be well-formed XML whose one outermost element is speak, with nothing around it:
// a message that mentions <speak> elsewhere would be read out tags and all. Which
// elements TeleSign speaks is not checked, nor that " ' and > in text are escaped:
// TeleSign asks for it, XML does not need it.
func ValidateSSML(message string) error {
	const field = "tts.message"
	if !utf8.ValidString(message) {
		return invalid(field, "is not UTF-8")
	}
	if !isSSML(message) {
		if strings.Contains(message, "<speak") || strings.Contains(message, "</speak") {
			return invalid(field, "has a speak tag inside plain text; put the whole message inside <speak>…</speak>")
		}
		return nil
	}
	d := xml.NewDecoder(strings.NewReader(message))
	depth, roots := 0, 0
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			line, column := d.InputPos()
			return invalid(field, "is not well-formed SSML at line %d, column %d: %w", line, column, err)
		}
		switch t := t.(type) {
		case xml.StartElement:
			if depth == 0 {
				roots++
			}
			if depth == 0 && (roots > 1 || t.Name.Local != "speak") {
				return invalid(field, "has <%s> beside <speak>; put the whole message inside one <speak>", t.Name.Local)
			}
			depth++
		case xml.EndElement:
			depth--
		case xml.CharData:
			if depth == 0 && strings.TrimSpace(string(t)) != "" {
				return invalid(field, "has text outside <speak>…</speak>")
			}
		case xml.Directive, xml.ProcInst:
			return invalid(field, "has <! or <? markup, which SSML in an action has no use for")
		}
	}
}

func isSSML(message string) bool {
	rest, ok := strings.CutPrefix(strings.TrimSpace(message), "<speak")
	return ok && rest != "" && strings.ContainsRune("> /\t\r\n", rune(rest[0]))
}
