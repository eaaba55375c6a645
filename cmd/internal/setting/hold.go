package setting

import (
	"fmt"
	"strings"
)

// Hold is what people hear whose number begins with Prefix while no decision is
// there, and before their call is given up.
type Hold struct {
	Prefix   string // digits, without +
	Language string
	Text     string
	Apology  string // "" is the one for everybody
}

// holds is a list of PREFIX:LANGUAGE:TEXT|APOLOGY: the flag repeated, or one a line.
// Texts have commas in them, so those separate nothing; where a variable cannot hold
// a line break, the two characters \n are one.
func (c *Catalogue) holds(name, usage string) Setting[[]Hold] {
	return list(c, spec{name: name, unit: "prefix:lang:text|apology", usage: usage, list: "\n"}, parseHolds)
}

func parseHolds(text string) ([]Hold, error) {
	var holds []Hold
	byPrefix := make(map[string]bool)
	for _, line := range split(strings.ReplaceAll(text, `\n`, "\n"), "\r\n") {
		n := len(holds) + 1
		fail := func(format string, args ...any) ([]Hold, error) {
			return nil, fmt.Errorf("line %d: %s; want PREFIX:LANGUAGE:TEXT|APOLOGY, such as 49:de-DE:Einen Moment, bitte.|Auf Wiederhören.", n, fmt.Sprintf(format, args...))
		}
		fields := strings.SplitN(line, ":", 3)
		if len(fields) < 3 {
			return fail("it has %d of the two colons", len(fields)-1)
		}
		said, apology, apologises := strings.Cut(fields[2], "|")
		h := Hold{
			Prefix: strings.TrimSpace(fields[0]), Language: strings.TrimSpace(fields[1]),
			Text: strings.TrimSpace(said), Apology: strings.TrimSpace(apology),
		}
		switch {
		case h.Prefix == "":
			return fail("the prefix is empty: what everybody hears is --hold-text and --apology-text")
		case strings.Trim(h.Prefix, "0123456789") != "":
			return fail("the prefix is not all digits; leave out + and 00")
		case h.Language == "":
			return fail("the language is empty")
		case h.Text == "":
			return fail("the text is empty")
		case apologises && h.Apology == "":
			return fail("the apology is empty; without the | it is that of --apology-text")
		case strings.Contains(apology, "|"):
			return fail("there is a second |")
		case byPrefix[h.Prefix]:
			return fail("a line before it has the same prefix")
		}
		byPrefix[h.Prefix] = true
		holds = append(holds, h)
	}
	return holds, nil
}
