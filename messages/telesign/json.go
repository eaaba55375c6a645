package telesign

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/offhook/offhook/messages"
)

// object is a JSON object that is read member by member: take removes what it
// returns, so that what remains at the end is what nobody knew. It refers to the
// bytes it was read from until rest copies them.
type object struct {
	path    string // where it stands in the message, "" at the top; for errors
	members []member
}

// readObject reads raw as an object; null and nothing are an empty one below the
// top. Of members with the same name the last counts.
func readObject(path string, raw []byte) (object, error) {
	o := object{path: path}
	if path != "" && absent(raw) {
		return o, nil
	}
	var ok bool
	if o.members, ok = splitObject(raw); ok {
		return o, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		if syntax := (*json.SyntaxError)(nil); errors.As(err, &syntax) {
			return o, messages.Errorf(messages.CodeInvalid, "the body is not JSON, at byte %d: %w", syntax.Offset, err)
		}
		return o, wrongType(path, raw, "an object")
	}
	if members == nil { // null
		return o, wrongType(path, raw, "an object")
	}
	for name, value := range members {
		o.put(name, value)
	}
	return o, nil
}

// place is where a member stands in a message. Only errors spell it out.
type place struct{ path, name string }

func (p place) String() string {
	if p.path == "" {
		return p.name
	}
	return p.path + "." + p.name
}

func (o *object) at(name string) place { return place{o.path, name} }

// peek returns the member called name; nil when it is missing.
func (o *object) peek(name string) json.RawMessage {
	for _, m := range slices.Backward(o.members) {
		if m.raw != nil && string(m.name) == name {
			return m.raw
		}
	}
	return nil
}

// take returns the member called name and removes it; nil when it is missing or
// null.
func (o *object) take(name string) json.RawMessage {
	var raw json.RawMessage
	for i := range o.members {
		if m := &o.members[i]; m.raw != nil && string(m.name) == name {
			raw, m.raw = m.raw, nil
		}
	}
	if absent(raw) {
		return nil
	}
	return raw
}

// put adds a member, or adds again what was taken.
func (o *object) put(name string, raw json.RawMessage) {
	o.members = append(o.members, member{[]byte(name), raw})
}

func (o *object) text(name string) (string, error) { return textOf(o.at(name), o.take(name)) }

func (o *object) child(name string) (object, error) {
	return readObject(o.at(name).String(), o.take(name))
}

// rest is a copy of the members nobody took, nil when there are none.
func (o *object) rest() map[string]json.RawMessage {
	var rest map[string]json.RawMessage
	for _, m := range o.members {
		if m.raw == nil {
			continue
		}
		if rest == nil {
			rest = make(map[string]json.RawMessage)
		}
		rest[string(m.name)] = slices.Clone(m.raw)
	}
	return rest
}

// textOf reads a string; missing, null and "" are the same.
func textOf(at place, raw json.RawMessage) (string, error) {
	if absent(raw) {
		return "", nil
	}
	if raw[0] == '"' && bytes.IndexByte(raw, '\\') < 0 && utf8.Valid(raw) {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", wrongType(at.String(), raw, "a string")
	}
	return s, nil
}

// numberOf reads a number or a string that holds one; missing, null and "" are no
// number.
func numberOf(at place, raw json.RawMessage) (n float64, ok bool, err error) {
	if absent(raw) {
		return 0, false, nil
	}
	literal := raw
	if kindOf(raw) == "a string" {
		s, err := textOf(at, raw)
		if err != nil || s == "" {
			return 0, false, err
		}
		literal = json.RawMessage(s)
	}
	if kindOf(literal) != "a number" || !json.Valid(literal) {
		return 0, false, wrongType(at.String(), raw, "a number")
	}
	if n, err = strconv.ParseFloat(string(bytes.TrimSpace(literal)), 64); err != nil {
		return 0, false, messages.FieldErrorf(messages.CodeInvalid, at.String(), "is a number out of range")
	}
	return n, true, nil
}

// absent reports whether raw is nothing or null.
func absent(raw []byte) bool {
	return len(raw) == 0 || string(raw) == "null"
}

// kindOf names the JSON type that raw begins as.
func kindOf(raw []byte) string {
	raw = bytes.TrimSpace(raw)
	if len(raw) == 0 {
		return "nothing"
	}
	switch c := raw[0]; {
	case c == '{':
		return "an object"
	case c == '[':
		return "an array"
	case c == '"':
		return "a string"
	case c == 't' || c == 'f':
		return "a boolean"
	case c == 'n':
		return "null"
	case c == '-' || c >= '0' && c <= '9':
		return "a number"
	}
	return "not JSON"
}

func wrongType(path string, raw []byte, want string) error {
	if path == "" {
		return messages.Errorf(messages.CodeInvalid, "the body is %s, want %s", kindOf(raw), want)
	}
	return messages.FieldErrorf(messages.CodeInvalid, path, "is %s, want %s", kindOf(raw), want)
}

// marshal is v as JSON on one line, without the HTML escapes of json.Marshal, and
// raw messages without their white space.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

// objectWriter writes a JSON object with its members in the order they are added,
// each name once.
type objectWriter struct {
	buf     bytes.Buffer
	written map[string]bool
	err     error
}

// add writes one member; a name that is there already is left as it is.
func (w *objectWriter) add(name string, value any) {
	if w.err != nil || w.written[name] {
		return
	}
	key, err := marshal(name)
	if err != nil {
		w.err = fmt.Errorf("encoding the name %q: %w", name, err)
		return
	}
	member, err := marshal(value)
	if err != nil {
		w.err = fmt.Errorf("encoding member %q: %w", name, err)
		return
	}
	if w.written == nil {
		w.written = make(map[string]bool)
	} else {
		w.buf.WriteByte(',')
	}
	w.written[name] = true
	w.buf.Write(key)
	w.buf.WriteByte(':')
	w.buf.Write(member)
}

// addRest writes members in the order of their names.
func (w *objectWriter) addRest(members map[string]json.RawMessage) {
	for _, name := range slices.Sorted(maps.Keys(members)) {
		w.add(name, members[name])
	}
}

func (w *objectWriter) object() (json.RawMessage, error) {
	if w.err != nil {
		return nil, w.err
	}
	return slices.Concat([]byte("{"), w.buf.Bytes(), []byte("}")), nil
}
