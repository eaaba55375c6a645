package flow

import (
	"net/url"
	"strings"

	"github.com/offhook/offhook/messages/telesign"
)

// Text is a prompt's text or URL in which ${name} stands for a value that is known
// only during a call. The zero Text says nothing.
type Text struct {
	source string
	parts  []part
	escape escape
}

// part is a piece of a text: words as they are, or the name of a variable.
type part struct {
	words string
	name  string // such as contact.first_name; empty for words
}

// escape is what keeps a value from being read as anything but words.
type escape int

const (
	escapeNothing escape = iota // plain speech
	escapeSSML                  // inside <speak>…</speak>
	escapeURL                   // inside a URL
)

// IsZero reports whether the text is empty.
func (t Text) IsZero() bool { return t.source == "" }

// String is the text as the file has it.
func (t Text) String() string { return t.source }

// Render is the text with values in place of its variables. lookup is asked for
// each by its full name, such as contact.first_name, call.to or answers.rating; an
// empty value is said as nothing. In SSML and in URLs values are escaped.
func (t Text) Render(lookup func(name string) string) string {
	if len(t.parts) == 1 && t.parts[0].name == "" {
		return t.parts[0].words
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.name == "" {
			b.WriteString(p.words)
			continue
		}
		switch v := lookup(p.name); t.escape {
		case escapeSSML:
			b.WriteString(telesign.EscapeSSML(v))
		case escapeURL:
			// Safe in a path and in a query alike.
			b.WriteString(strings.ReplaceAll(url.QueryEscape(v), "+", "%20"))
		case escapeNothing:
			// TeleSign takes what looks like <speak> for SSML; nobody says a "<".
			b.WriteString(strings.ReplaceAll(v, "<", " "))
		}
	}
	return b.String()
}
