package telesign

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// member is one member of a JSON object. Both parts are slices of the object they
// were found in.
type member struct {
	name []byte
	raw  json.RawMessage // without the white space around it; nil once it was taken
}

// splitObject finds the members of a JSON object in their order, those of the same
// name too. It reads what webhooks are made of in one pass. Of anything else it is
// not ok, although that may be an object: it is encoding/json that tells, that says
// what is wrong, and that knows the rules for escapes and broken UTF-8. What is ok
// is valid JSON.
func splitObject(raw []byte) (members []member, ok bool) {
	i := skipSpace(raw, 0)
	if byteAt(raw, i) != '{' {
		return nil, false
	}
	members = make([]member, 0, 10) // the data of call_completed has 9
	if i = scanObject(raw, i, maxScanDepth, &members); i < 0 || skipSpace(raw, i) != len(raw) {
		return nil, false
	}
	for _, m := range members {
		if !utf8.Valid(m.name) {
			return nil, false
		}
	}
	return members, true
}

// The functions below take the index at which something begins in raw and return the
// one after its end, or unsure if it is not valid JSON or not that simple.
const unsure = -1

// maxScanDepth is how deep values are followed into each other.
const maxScanDepth = 16

// scanObject reads an object and appends its members to into, if that is not nil.
func scanObject(raw []byte, i, depth int, into *[]member) int {
	if i = skipSpace(raw, i+1); byteAt(raw, i) == '}' {
		return i + 1
	}
	for {
		name := i
		if i = scanString(raw, i); i < 0 {
			return unsure
		}
		nameEnd := i
		if i = skipSpace(raw, i); byteAt(raw, i) != ':' {
			return unsure
		}
		value := skipSpace(raw, i+1)
		if i = scanValue(raw, value, depth); i < 0 {
			return unsure
		}
		if into != nil {
			*into = append(*into, member{name: raw[name+1 : nameEnd-1], raw: raw[value:i]})
		}
		i = skipSpace(raw, i)
		switch byteAt(raw, i) {
		case ',':
			i = skipSpace(raw, i+1)
		case '}':
			return i + 1
		default:
			return unsure
		}
	}
}

func scanArray(raw []byte, i, depth int) int {
	if i = skipSpace(raw, i+1); byteAt(raw, i) == ']' {
		return i + 1
	}
	for {
		if i = scanValue(raw, i, depth); i < 0 {
			return unsure
		}
		i = skipSpace(raw, i)
		switch byteAt(raw, i) {
		case ',':
			i = skipSpace(raw, i+1)
		case ']':
			return i + 1
		default:
			return unsure
		}
	}
}

func scanValue(raw []byte, i, depth int) int {
	switch c := byteAt(raw, i); {
	case c == '"':
		return scanString(raw, i)
	case c == '{' && depth > 0:
		return scanObject(raw, i, depth-1, nil)
	case c == '[' && depth > 0:
		return scanArray(raw, i, depth-1)
	case c == '-' || isDigit(c):
		return scanNumber(raw, i)
	}
	for _, literal := range []string{"null", "true", "false"} {
		if bytes.HasPrefix(raw[min(i, len(raw)):], []byte(literal)) {
			return i + len(literal)
		}
	}
	return unsure
}

// scanString reads a string without escapes.
func scanString(raw []byte, i int) int {
	if byteAt(raw, i) != '"' {
		return unsure
	}
	for i++; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			return i + 1
		case c == '\\' || c < ' ':
			return unsure
		}
	}
	return unsure
}

// scanNumber reads a number: no zeros before it, and digits wherever it has a dot or
// an exponent.
func scanNumber(raw []byte, i int) int {
	if raw[i] == '-' {
		i++
	}
	if byteAt(raw, i) == '0' {
		i++
	} else if i = scanDigits(raw, i); i < 0 {
		return unsure
	}
	if byteAt(raw, i) == '.' {
		if i = scanDigits(raw, i+1); i < 0 {
			return unsure
		}
	}
	if c := byteAt(raw, i); c != 'e' && c != 'E' {
		return i
	}
	if i++; byteAt(raw, i) == '+' || byteAt(raw, i) == '-' {
		i++
	}
	return scanDigits(raw, i)
}

// scanDigits reads one digit or more.
func scanDigits(raw []byte, i int) int {
	if !isDigit(byteAt(raw, i)) {
		return unsure
	}
	for isDigit(byteAt(raw, i)) {
		i++
	}
	return i
}

func skipSpace(raw []byte, i int) int {
	for i < len(raw) && (raw[i] == ' ' || raw[i] == '\t' || raw[i] == '\n' || raw[i] == '\r') {
		i++
	}
	return i
}

// byteAt is raw[i], and behind the end a byte that begins and ends nothing.
func byteAt(raw []byte, i int) byte {
	if i < len(raw) {
		return raw[i]
	}
	return 0
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }
