package call

import (
	"encoding/json"

	"github.com/offhook/offhook/messages/telesign"
)

// reader reads the JSON of append.go: no white space, no null, no member that
// this version does not know. It fails on anything else, and then what it has read
// so far means nothing. What it takes, it takes as encoding/json does. Strings are
// parts of json, which stays in memory as long as any of them.
type reader struct {
	json   string
	at     int
	failed bool
}

// readState reads a state of this schema. Not ok: encoding/json must have a look.
func readState(json string) (s State, ok bool) {
	r := reader{json: json}
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "v":
			number(&r, &s.Schema)
			r.failed = r.failed || s.Schema != Schema
		case "F":
			r.facts(&s.Facts)
		case "t":
			number(&r, &s.LastAt)
		case "i":
			s.LastID = r.text()
		case "q":
			number(&r, &s.LastSeq)
		case "e":
			s.EventID = r.text()
		case "ac":
			s.Acted = r.flag()
		case "B":
			number(&r, &s.Print)
		case "f":
			number(&r, &s.FirstAt)
		case "D":
			number(&r, &s.DecidedIn)
		case "c":
			number(&r, &s.Copies)
		case "u":
			s.Unsure = r.flag()
		case "m":
			s.Mute = r.flag()
		case "s":
			s.Step = r.text()
		case "a":
			s.Asked = asked(r.text())
		case "I":
			s.Instead = r.flag()
		case "H":
			s.Held = r.flag()
		case "M":
			s.Missing = r.text()
		case "T":
			number(&r, &s.HeldAt)
		case "k":
			number(&r, &s.Tries)
		case "ni":
			number(&r, &s.NoInputs)
		case "in":
			number(&r, &s.Invalids)
		case "b":
			number(&r, &s.Begun)
		case "ds":
			s.DialStatus = r.text()
		case "p":
			number(&r, &s.Prompts)
		case "ho":
			number(&r, &s.Holds)
		case "K":
			s.Keyed = r.flag()
		case "g":
			s.GaveUp = r.flag()
		case "fe":
			s.FlowEnded = r.flag()
		case "w":
			s.Word = r.text()
		case "fl":
			s.Fail = r.text()
		case "o":
			s.OptedOut = r.flag()
		case "A":
			r.answers(&s.Answers)
		case "E":
			r.end(&s.End)
		default:
			r.failed = true
		}
	}
	return s, r.done() && s.Schema == Schema
}

func (r *reader) facts(to **Facts) {
	if *to != nil { // twice: encoding/json merges them
		r.failed = true
		return
	}
	f := &Facts{}
	*to = f
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "x":
			f.ExternalID = r.text()
		case "f":
			f.Flow = r.text()
		case "h":
			f.FlowHash = r.text()
		case "d":
			f.Direction = r.text()
		case "to":
			f.To = r.text()
		case "fr":
			f.From = r.text()
		case "n":
			number(r, &f.Attempt)
		case "c":
			if f.Contact == nil {
				f.Contact = make(map[string]string)
			}
			for r.open('{'); r.more('}'); {
				column := r.name()
				f.Contact[column] = r.text()
			}
		default:
			r.failed = true
		}
	}
}

func (r *reader) answers(to *[]answer) {
	if *to != nil {
		r.failed = true
		return
	}
	*to = make([]answer, 0, 4)
	for r.open('['); r.more(']'); {
		var a answer
		for r.open('{'); r.more('}'); {
			switch r.name() {
			case "n":
				a.Name = r.text()
			case "v":
				a.Value = r.text()
			case "l":
				a.Label = r.text()
			case "s":
				a.Step = r.text()
			case "t":
				number(r, &a.At)
			default:
				r.failed = true
			}
		}
		*to = append(*to, a)
	}
}

func (r *reader) end(to **end) {
	if *to != nil {
		r.failed = true
		return
	}
	e := &end{}
	*to = e
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "t":
			number(r, &e.At)
		case "f":
			e.ByFlow = r.flag()
		case "di":
			e.Direction = r.text()
		case "to":
			e.To = r.text()
		case "fr":
			e.From = r.text()
		case "s":
			e.Status = r.text()
		case "d":
			number(r, &e.Duration)
		case "c":
			number(r, &e.Created)
		case "a":
			number(r, &e.Answered)
		case "e":
			number(r, &e.Ended)
		case "r":
			e.Recording = r.text()
		default:
			r.failed = true
		}
	}
}

// readEntry reads an entry of an event; reports are left to encoding/json.
func readEntry(json string) (e Entry, ok bool) {
	r := reader{json: json}
	for r.open('{'); r.more('}'); {
		switch r.name() {
		case "i":
			e.ID = r.text()
		case "t":
			number(&r, &e.Key)
		case "q":
			number(&r, &e.Seq)
		case "L":
			e.Late = r.flag()
		case "D":
			number(&r, &e.Took)
		case "l":
			e.Live = r.flag()
		case "O":
			e.Otherwise = r.flag()
		case "P":
			e.Parked = r.flag()
		case "e":
			e.Name = telesign.EventName(r.text())
		case "s":
			e.Status = r.text()
		case "k":
			e.Digits = r.text()
		case "b":
			number(&r, &e.Sum)
		case "to":
			e.To = r.text()
		case "E":
			r.end(&e.End)
		default:
			r.failed = true
		}
	}
	return e, r.done()
}

// done reports whether all of json has been read.
func (r *reader) done() bool { return !r.failed && r.at == len(r.json) }

// next is the byte to be read next, 0 after the last.
func (r *reader) next() byte {
	if r.at < len(r.json) {
		return r.json[r.at]
	}
	return 0
}

// skip moves past text if it comes next.
func (r *reader) skip(text string) bool {
	if len(r.json)-r.at < len(text) || r.json[r.at:r.at+len(text)] != text {
		return false
	}
	r.at += len(text)
	return true
}

func (r *reader) open(bracket byte) {
	if r.next() != bracket {
		r.failed = true
		return
	}
	r.at++
}

// more reports whether another member or element comes before bracket, and moves
// to it, or past bracket.
func (r *reader) more(bracket byte) bool {
	if r.failed {
		return false
	}
	before := r.json[r.at-1] // no value ends in an opening bracket
	switch next := r.next(); {
	case next == bracket:
		r.at++
		return false
	case before == '{' || before == '[':
		return true
	case next == ',':
		r.at++
		return true
	}
	r.failed = true
	return false
}

func (r *reader) name() string {
	name := r.text()
	r.open(':')
	return name
}

func (r *reader) text() string {
	r.open('"')
	start := r.at
	for i := start; i < len(r.json) && !r.failed; i++ {
		switch c := r.json[i]; {
		case plain[c]:
		case c == '"':
			r.at = i + 1
			return r.json[start:i]
		default:
			return r.oddText(start)
		}
	}
	r.failed = true
	return ""
}

// oddText is the text from start, which has more than plain bytes.
func (r *reader) oddText(start int) (text string) {
	for i := start; i < len(r.json); i++ {
		switch r.json[i] {
		case '\\':
			i++
		case '"':
			r.at = i + 1
			r.failed = json.Unmarshal([]byte(r.json[start-1:r.at]), &text) != nil
			return text
		}
	}
	r.failed = true
	return ""
}

func (r *reader) flag() bool {
	if r.skip("true") {
		return true
	}
	r.failed = r.failed || !r.skip("false")
	return false
}

// number reads a whole number of up to 18 digits, which no time and no sequence of
// ours is beyond.
func number[T int | int64 | uint64 | uint32](r *reader, to *T) {
	negative := r.skip("-")
	start, n := r.at, int64(0)
	for c := r.next(); c >= '0' && c <= '9' && r.at-start < 19; c = r.next() {
		n = n*10 + int64(c-'0')
		r.at++
	}
	digits := r.at - start
	if digits == 0 || digits > 18 || digits > 1 && r.json[start] == '0' {
		r.failed = true
		return
	}
	if negative {
		n = -n
	}
	*to = T(n)
	r.failed = r.failed || int64(*to) != n || (*to < 0) != (n < 0)
}
