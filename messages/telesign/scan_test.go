package telesign

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// checkSplit compares splitObject with encoding/json; it reports whether splitObject
// was sure.
func checkSplit(t *testing.T, raw []byte) bool {
	t.Helper()
	members, ok := splitObject(raw)
	if !ok {
		return false
	}
	want := map[string]json.RawMessage{}
	if err := json.Unmarshal(raw, &want); err != nil {
		t.Fatalf("%q is taken for an object: %v", raw, err)
	}
	got := map[string]json.RawMessage{}
	for _, m := range members {
		got[string(m.name)] = m.raw
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%q (-want +got):\n%s", raw, diff)
	}
	return true
}

// What webhooks are made of must not take the long way.
func TestSplitObjectIsSure(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		`{}`, " {\t}\r\n", `{"a":null,"b":true,"c":false,"d":"","e":"é <&>"}`, `{"é":1,"":2}`,
		`{"a":0,"b":-0.5,"c":1e9,"d":12.50E-07,"e":-10e+1}`,
		` { "a" : [ ] , "b" : [ 1 , { } , [ "x" ] ] , "c" : { "d" : { "e" : [ { } ] } } , "a" : 2 } `,
		`{"a":` + strings.Repeat("[", maxScanDepth) + strings.Repeat("]", maxScanDepth) + `}`,
		strings.Repeat(`{"a":`, maxScanDepth+1) + "1" + strings.Repeat("}", maxScanDepth+1),
	} {
		if !checkSplit(t, []byte(raw)) {
			t.Errorf("%s: not sure", raw)
		}
	}
}

func TestSplitObjectIsUnsure(t *testing.T) {
	t.Parallel()
	for _, raw := range []string{
		``, ` `, `null`, `[]`, `"a"`, `1`, // no objects
		`{`, `{"a"`, `{"a":`, `{"a":1`, `{"a":1,`, `{"a":[`, `{"a":[1`, `{"a":"`, `{"a":-`, `{"a":1.`, `{"a":1e`, `{"a":1e-`, `{"a":nul`, // cut off
		`{"a":1,}`, `{,}`, `{"a":[1,]}`, `{"a":[,]}`, `{"a" 1}`, `{"a":1 "b":2}`, `{"a":[1 2]}`, `{a:1}`, `{"a":01}`, `{"a":.5}`, `{"a":+1}`, `{"a":1.e1}`, `{"a":nulls}`,
		`{}{}`, `{} x`, "{}\x00", "{\f}", "\ufeff{}", "{\"a\":\"\n\"}",
		`{"a":"\n"}`, `{"\u0061":1}`, "{\"\xff\":1}", // for encoding/json to tell
		`{"a":` + strings.Repeat("[", maxScanDepth+1) + strings.Repeat("]", maxScanDepth+1) + `}`,
		strings.Repeat(`{"a":`, maxScanDepth+2) + "1" + strings.Repeat("}", maxScanDepth+2),
	} {
		if checkSplit(t, []byte(raw)) {
			t.Errorf("%s: sure", raw)
		}
	}
}

func FuzzSplitObject(f *testing.F) {
	f.Add([]byte(`{"event":"x","reference_id":"R","data":{"a":[1,-2.5e+3,null,true,false,"é"],"a":{}}}`))
	f.Add([]byte(" { \"a\" : [ { \"b\" : \"c\" } ] }\n"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !checkSplit(t, raw) && bytes.IndexByte(raw, '\\') < 0 && plainObject(raw) {
			t.Fatalf("%q: not sure", raw)
		}
	})
}

// plainObject reports whether raw is an object with nothing in it that splitObject
// leaves to encoding/json, given that it has no escapes.
func plainObject(raw []byte) bool {
	if !json.Valid(raw) || !bytes.HasPrefix(bytes.TrimSpace(raw), []byte("{")) {
		return false
	}
	depth := bytes.Count(raw, []byte("{")) + bytes.Count(raw, []byte("["))
	return depth <= maxScanDepth && bytes.Equal(raw, bytes.ToValidUTF8(raw, nil))
}
