package call

import (
	"encoding/json"
	"fmt"

	"github.com/offhook/offhook/messages/telesign"
)

// States and entries are stored as JSON, byte for byte what encoding/json makes of
// their structs. It is written and read by hand, because each event of each call
// pays for it: reading takes a tenth of the time so. Only what this version writes
// is read by hand; all else, such as members of another version, is left to
// encoding/json, which also says what is wrong.

// ParseState reads a stored state. Nil bytes are the zero State. ErrNewerSchema
// when a newer version wrote it.
func ParseState(callID string, data []byte) (State, error) {
	if len(data) == 0 {
		return State{Schema: Schema, CallID: callID}, nil
	}
	s, ok := readState(string(data))
	if !ok {
		var err error
		if s, err = readAnyState(data); err != nil {
			return State{}, err
		}
	}
	s.CallID = callID
	if s.EventID == "" {
		s.EventID = s.LastID // a report's own id, if there was no event: nothing is about that
	}
	if s.Print != 0 && s.FirstAt == 0 {
		s.FirstAt = s.LastAt
	}
	return s, nil
}

func readAnyState(data []byte) (State, error) {
	var s State
	// The version is read first and alone: a newer state need not fit this struct.
	var version struct {
		Schema int `json:"v"`
	}
	if err := json.Unmarshal(data, &version); err != nil {
		return s, fmt.Errorf("call state: %w", err)
	}
	if version.Schema > Schema {
		return s, ErrNewerSchema
	}
	if err := json.Unmarshal(data, &s); err != nil {
		return s, fmt.Errorf("call state: %w", err)
	}
	return s, nil
}

// Encode is the state as it is stored. It does not fail.
func (s State) Encode() ([]byte, error) {
	s = s.stored()
	return appendState(make([]byte, 0, 768), &s), nil
}

// stored is s without what ParseState finds out by itself.
func (s State) stored() State {
	if s.EventID == s.LastID {
		s.EventID = ""
	}
	if s.FirstAt == s.LastAt {
		s.FirstAt = 0
	}
	return s
}

// ParseLog reads a stored log, oldest first.
func ParseLog(raw [][]byte) ([]Entry, error) {
	log := make([]Entry, len(raw))
	for i, b := range raw {
		e, ok := readEntry(string(b))
		if !ok {
			e = Entry{}
			if err := json.Unmarshal(b, &e); err != nil {
				return nil, fmt.Errorf("call log, entry %d: %w", i, err)
			}
		}
		e.Name, e.Status = telesign.EventName(lengthen(string(e.Name))), lengthen(e.Status)
		log[i] = e
	}
	return log, nil
}

// EncodeLog is entries as they are stored. It does not fail.
func EncodeLog(log []Entry) ([][]byte, error) {
	raw := make([][]byte, len(log))
	for i, e := range log {
		e = e.stored()
		raw[i] = appendEntry(make([]byte, 0, 192), &e)
	}
	return raw, nil
}

// stored is e with the short forms of words.
func (e Entry) stored() Entry {
	e.Name, e.Status = telesign.EventName(shorten(string(e.Name))), shorten(e.Status)
	return e
}
