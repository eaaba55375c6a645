package call_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/worker/call"
)

// A newer state is known as one however it is written.
func TestNewerSchemaIsLeftAlone(t *testing.T) {
	t.Parallel()
	for _, stored := range []string{
		`{"v":2}`,
		`{"v":2,"F":"not even an object any more"}`,
		` { "t" : 5, "v" : 2 } `,
		`{"t":5,"new":[{"v":1}],"v":3}`,
		`{"v":1,"t":5,"v":2}`,
		`{"v":1,"t":5,"V":2}`,
		`{"v":1,"t":5,"\u0076":2}`,
		`{"v":1000000000000000000}`,
	} {
		if s, err := call.ParseState("C1", []byte(stored)); !errors.Is(err, call.ErrNewerSchema) || !reflect.ValueOf(s).IsZero() {
			t.Errorf("%s: got %+v, %v; want ErrNewerSchema", stored, s, err)
		}
	}
}

// What another version, or a person, may have written is read as well.
func TestOtherWritingIsRead(t *testing.T) {
	t.Parallel()
	want := call.State{Schema: 1, CallID: "C1", LastAt: 5, LastID: "E1", EventID: "E1", Step: "a<b", Acted: true, Facts: &call.Facts{Direction: "inbound", Contact: map[string]string{"näme": `"`}}}
	for _, stored := range []string{
		`{"v":1,"F":{"d":"inbound","c":{"n\u00e4me":"\""}},"t":5,"i":"E1","ac":true,"s":"a\u003cb"}`,
		`{"v":1,"F":{"d":"inbound","c":{"näme":"\u0022"}},"t":5,"i":"E1","ac":true,"s":"a<b"}`,
		" {\"s\":\"a<b\",\n\"t\":5, \"i\": \"E1\", \"v\":1, \"ac\":true, \"H\":false, \"E\":null,\"F\":{\"d\":\"inbound\",\"c\":{\"näme\":\"\\\"\"}}}\n",
		`{"v":1,"F":{"d":"inbound","c":{"näme":"\"","zz":"one"},"new":[]},"t":4,"i":"E1","ac":true,"s":"a<b","zz":{"deep":[1.5e3,{"a":null}]},"F":{"c":{"zz":""}},"t":5}`,
		`{"v":1,"F":{"d":"inbound","c":{"zz":""}},"t":4,"i":"E1","ac":true,"s":"a<b","F":{"c":{"näme":"\""}},"t":5}`,
	} {
		got, err := call.ParseState("C1", []byte(stored))
		if err != nil {
			t.Errorf("%s: %v", stored, err)
			continue
		}
		if got.Facts != nil {
			delete(got.Facts.Contact, "zz")
		}
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", stored, diff)
		}
	}
	log, err := call.ParseLog([][]byte{[]byte(` {"i":"E1","t":7,"new":null,"T":{"event_id":"E0","answer":"hold"}}`)})
	if err != nil || log[0].ID != "E1" || log[0].Key != 7 || log[0].Told == nil || log[0].Told.EventID != "E0" {
		t.Errorf("got %+v, %v", log, err)
	}
}

func TestBrokenStoredFormIsRefused(t *testing.T) {
	t.Parallel()
	for _, stored := range []string{
		`null`, `{`, `{}`, `{"v":0}`, // not broken: encoding/json takes the first and the last two as empty
		`[]`, `"v"`, `{"v":1`, `{"v":1}}`, `{"v":1,}`, `{,"v":1}`, `{"v":1 "t":2}`, `{"v":01}`, `{"v":1,"t":1.5}`, `{"v":1,"t":-}`,
		`{"v":1,"t":9223372036854775808}`, `{"v":1,"q":-1}`, `{"v":1,"B":4294967296}`, `{"v":1,"i":"a}`, `{"v":1,"i":"a\"}`, "{\"v\":1,\"i\":\"a\nb\"}",
		`{"v":1,"i":5}`, `{"v":1,"ac":1}`, `{"v":1,"ac":truer}`, `{"v":1,"A":[{"n":"a"},]}`, `{"v":1,"A":[1]}`, `{"v":1,"A":{}}`, `{"v":1,"F":{"c":{"a":1}}}`, `{"v":1,"E":{"t":"x"}}`,
	} {
		_, want := call.ReadAnyState([]byte(stored))
		_, err := call.ParseState("C1", []byte(stored))
		if fmt.Sprint(err) != fmt.Sprint(want) {
			t.Errorf("%s: got error %v, want %v", stored, err, want)
		}
		if _, err := call.ParseLog([][]byte{[]byte(stored)}); (err != nil) != (json.Unmarshal([]byte(stored), &call.Entry{}) != nil) {
			t.Errorf("%s as an entry: got error %v", stored, err)
		}
	}
}

// Whatever a state or an entry holds, it is stored as encoding/json would store it,
// and what comes back is what encoding/json would read; by hand, so that the fast
// way is not lost unnoticed.
func TestStoredFormIsThatOfEncodingJSON(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 2000 {
		storedAlike(t, rand.New(rand.NewPCG(seed, uint64(i))), "")
	}
}

func FuzzWriting(f *testing.F) {
	for i, text := range []string{"", "a", `"\`, "<&>", "\u2028", "\xff", "\x00\x7f", "José 日本"} {
		f.Add(uint64(i), text)
	}
	f.Fuzz(func(t *testing.T, seed uint64, text string) {
		storedAlike(t, rand.New(rand.NewPCG(seed, 0)), text)
	})
}

// storedAlike checks a random state and a random entry.
func storedAlike(t *testing.T, chance *rand.Rand, text string) {
	t.Helper()
	r := random{chance, text}
	var s call.State
	r.fill(reflect.ValueOf(&s).Elem())
	s.Schema, s.CallID = call.Schema, ""
	data, err := s.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if want := marshal(t, s.Stored()); string(data) != want {
		t.Fatalf("a state is stored as\n%s, want\n%s", data, want)
	}
	want, err := call.ReadAnyState(data)
	if err != nil {
		t.Fatal(err)
	}
	if got, ok := call.ReadState(string(data)); !ok || !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\nread by hand (ok %v, -encoding/json +got):\n%s", data, ok, gocmp.Diff(want, got))
	}

	var e call.Entry
	r.fill(reflect.ValueOf(&e).Elem())
	raw, err := call.EncodeLog([]call.Entry{e})
	if err != nil {
		t.Fatal(err)
	}
	if want := marshal(t, e.Stored()); string(raw[0]) != want {
		t.Fatalf("an entry is stored as\n%s, want\n%s", raw[0], want)
	}
	entryAlike(t, string(raw[0]), e.Told == nil)
}

// entryAlike checks that a stored entry is read as encoding/json reads it, by hand
// if it must be.
func entryAlike(t *testing.T, stored string, must bool) {
	t.Helper()
	got, ok := call.ReadEntry(stored)
	if !ok {
		if must {
			t.Fatalf("%s\nis not read by hand", stored)
		}
		return
	}
	var want call.Entry
	if err := json.Unmarshal([]byte(stored), &want); err != nil {
		t.Fatalf("%s\nis read by hand, though %v", stored, err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\n(-encoding/json +got):\n%s", stored, gocmp.Diff(want, got))
	}
}

func FuzzReading(f *testing.F) {
	m := surveyed(f)
	raw, err := call.EncodeLog(m.entries)
	if err != nil {
		f.Fatal(err)
	}
	for i, s := range m.states {
		data, err := s.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data))
		f.Add(string(raw[i%len(raw)]))
	}
	f.Add(`{"v":1,"A":[{"n":"a","l":"b"}],"A":[{"n":"c"}]}`)
	f.Add(`{"v":1,"E":{"t":1},"E":{"d":2}}`)
	f.Add(`{"v":1,"F":{"d":"","c":{"a":"1","a":"2","\u0061":"3"}},"A":[],"E":{},"B":4294967296,"q":18446744073709551615,"t":-0}`)
	f.Fuzz(func(t *testing.T, stored string) {
		entryAlike(t, stored, false)
		got, ok := call.ReadState(stored)
		if !ok {
			return
		}
		want, err := call.ReadAnyState([]byte(stored))
		if err != nil {
			t.Fatalf("%s\nis read by hand, though %v", stored, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("%s\n(-encoding/json +got):\n%s", stored, gocmp.Diff(want, got))
		}
	})
}

func marshal(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// random fills values: numbers of up to 18 digits, texts of all kinds and text.
type random struct {
	*rand.Rand
	text string
}

func (r random) fill(v reflect.Value) {
	if r.IntN(3) == 0 && v.Kind() != reflect.Struct {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			r.fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		r.fill(v.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), r.IntN(6), 6))
		for i := range v.Len() {
			r.fill(v.Index(i))
		}
	case reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
		for range r.IntN(12) {
			key, value := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			r.fill(key)
			r.fill(value)
			v.SetMapIndex(key, value)
		}
	case reflect.String:
		words := []string{r.text, "E1", "visit-survey", "prompt", "José", "日本", `say "hi"`, `\`, "R&D", "5 > 4", "<speak>", "\u2028", "\xff\xc3", "\n\x00", "\x7f", "~s", strings.Repeat("long ", 50)}
		v.SetString(words[r.IntN(len(words))] + words[r.IntN(len(words))])
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int, reflect.Int64:
		v.SetInt([]int64{1, -1, 9, 10, r.Int64N(1e18), -r.Int64N(1e18), 1e18 - 1}[r.IntN(7)])
	case reflect.Uint32, reflect.Uint64:
		n := []uint64{1, 10, math.MaxUint32, r.Uint64N(1e18)}[r.IntN(4)]
		if v.OverflowUint(n) {
			n = math.MaxUint32
		}
		v.SetUint(n)
	default:
		panic("a state holds a " + v.Kind().String() + ": teach this test and the codec about it")
	}
}
