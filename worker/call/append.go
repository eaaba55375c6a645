package call

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// What is appended here is JSON, to the byte as json.Marshal would write it. Members
// that are empty are left out, except by appendAny….

func appendState(b []byte, s *State) []byte {
	b = append(b, '{')
	b = appendAnyNumber(b, "v", int64(s.Schema))
	b = appendFacts(b, s.Facts)
	b = appendNumber(b, "t", s.LastAt)
	b = appendText(b, "i", s.LastID)
	b = appendCount(b, "q", s.LastSeq)
	b = appendText(b, "e", s.EventID)
	b = appendFlag(b, "ac", s.Acted)
	b = appendCount(b, "B", uint64(s.Print))
	b = appendNumber(b, "f", s.FirstAt)
	b = appendNumber(b, "D", s.DecidedIn)
	b = appendNumber(b, "c", int64(s.Copies))
	b = appendFlag(b, "u", s.Unsure)
	b = appendFlag(b, "m", s.Mute)
	b = appendText(b, "s", s.Step)
	b = appendText(b, "a", string(s.Asked))
	b = appendFlag(b, "I", s.Instead)
	b = appendFlag(b, "H", s.Held)
	b = appendText(b, "M", s.Missing)
	b = appendNumber(b, "T", s.HeldAt)
	b = appendNumber(b, "k", int64(s.Tries))
	b = appendNumber(b, "ni", int64(s.NoInputs))
	b = appendNumber(b, "in", int64(s.Invalids))
	b = appendNumber(b, "b", s.Begun)
	b = appendText(b, "ds", s.DialStatus)
	b = appendNumber(b, "p", int64(s.Prompts))
	b = appendNumber(b, "ho", int64(s.Holds))
	b = appendFlag(b, "K", s.Keyed)
	b = appendFlag(b, "g", s.GaveUp)
	b = appendFlag(b, "fe", s.FlowEnded)
	b = appendText(b, "w", s.Word)
	b = appendText(b, "fl", s.Fail)
	b = appendFlag(b, "o", s.OptedOut)
	if len(s.Answers) > 0 {
		b = append(appendName(b, "A"), '[')
		for _, a := range s.Answers {
			b = append(appendNext(b), '{')
			b = appendAnyText(b, "n", a.Name)
			b = appendAnyText(b, "v", a.Value)
			b = appendText(b, "l", a.Label)
			b = appendAnyText(b, "s", a.Step)
			b = appendAnyNumber(b, "t", a.At)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	b = appendEnd(b, s.End)
	return append(b, '}')
}

func appendFacts(b []byte, f *Facts) []byte {
	if f == nil {
		return b
	}
	b = append(appendName(b, "F"), '{')
	b = appendText(b, "x", f.ExternalID)
	b = appendText(b, "f", f.Flow)
	b = appendText(b, "h", f.FlowHash)
	b = appendAnyText(b, "d", f.Direction)
	b = appendText(b, "to", f.To)
	b = appendText(b, "fr", f.From)
	b = appendNumber(b, "n", int64(f.Attempt))
	if len(f.Contact) > 0 {
		b = append(appendName(b, "c"), '{')
		columns := slices.AppendSeq(make([]string, 0, 8), maps.Keys(f.Contact))
		slices.Sort(columns)
		for _, column := range columns {
			b = append(appendQuoted(appendNext(b), column), ':')
			b = appendQuoted(b, f.Contact[column])
		}
		b = append(b, '}')
	}
	return append(b, '}')
}

func appendEnd(b []byte, e *end) []byte {
	if e == nil {
		return b
	}
	b = append(appendName(b, "E"), '{')
	b = appendNumber(b, "t", e.At)
	b = appendFlag(b, "f", e.ByFlow)
	b = appendText(b, "di", e.Direction)
	b = appendText(b, "to", e.To)
	b = appendText(b, "fr", e.From)
	b = appendText(b, "s", e.Status)
	b = appendNumber(b, "d", int64(e.Duration))
	b = appendNumber(b, "c", e.Created)
	b = appendNumber(b, "a", e.Answered)
	b = appendNumber(b, "e", e.Ended)
	b = appendText(b, "r", e.Recording)
	return append(b, '}')
}

func appendEntry(b []byte, e *Entry) []byte {
	b = append(b, '{')
	b = appendAnyText(b, "i", e.ID)
	b = appendAnyNumber(b, "t", e.Key)
	b = appendCount(b, "q", e.Seq)
	b = appendFlag(b, "L", e.Late)
	b = appendNumber(b, "D", e.Took)
	b = appendFlag(b, "l", e.Live)
	b = appendFlag(b, "O", e.Otherwise)
	if e.Told != nil {
		told, _ := json.Marshal(e.Told) // three strings: never fails
		b = append(appendName(b, "T"), told...)
	}
	b = appendFlag(b, "P", e.Parked)
	b = appendText(b, "e", string(e.Name))
	b = appendText(b, "s", e.Status)
	b = appendText(b, "k", e.Digits)
	b = appendCount(b, "b", uint64(e.Sum))
	b = appendText(b, "to", e.To)
	b = appendEnd(b, e.End)
	return append(b, '}')
}

// appendNext begins another member or element.
func appendNext(b []byte) []byte {
	if last := b[len(b)-1]; last == '{' || last == '[' {
		return b
	}
	return append(b, ',')
}

// appendName begins a member. None of our names has anything to escape.
func appendName(b []byte, name string) []byte {
	b = append(appendNext(b), '"')
	b = append(b, name...)
	return append(b, '"', ':')
}

func appendText(b []byte, name, v string) []byte {
	if v == "" {
		return b
	}
	return appendAnyText(b, name, v)
}

func appendAnyText(b []byte, name, v string) []byte {
	return appendQuoted(appendName(b, name), v)
}

func appendNumber(b []byte, name string, v int64) []byte {
	if v == 0 {
		return b
	}
	return appendAnyNumber(b, name, v)
}

func appendAnyNumber(b []byte, name string, v int64) []byte {
	return strconv.AppendInt(appendName(b, name), v, 10)
}

func appendCount(b []byte, name string, v uint64) []byte {
	if v == 0 {
		return b
	}
	return strconv.AppendUint(appendName(b, name), v, 10)
}

func appendFlag(b []byte, name string, v bool) []byte {
	if !v {
		return b
	}
	return append(appendName(b, name), "true"...)
}

func appendQuoted(b []byte, v string) []byte {
	for i := range len(v) {
		if !plain[v[i]] {
			quoted, _ := json.Marshal(v) // a string: never fails
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, v...)
	return append(b, '"')
}

// plain is the bytes that json.Marshal writes as they are.
var plain = func() (is [256]bool) {
	for c := ' '; c < utf8.RuneSelf; c++ {
		is[c] = !strings.ContainsRune(`"\<>&`, c)
	}
	return is
}()
