package flow_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

func mustCompile(t testing.TB, source string) *flow.Program {
	t.Helper()
	p, err := flow.Compile("test.yaml", []byte(source))
	if err != nil {
		t.Fatalf("%v\n%s", err, source)
	}
	return p
}

// texts compares texts by what the file says.
var texts = cmp.Comparer(func(a, b flow.Text) bool { return a.String() == b.String() })

// said is a prompt in a few words.
func said(p flow.Prompt) string {
	return strings.Trim(fmt.Sprintf("%s|%s|%s", p.Play, p.Speak, p.Language), "|")
}

func TestCompile(t *testing.T) {
	t.Parallel()
	const source = `
name: small
language: en-US
contact: { first_name: there, city: , zip: "" }
start: { answered: hello, incoming: hangup }
steps:
  hello:
    play: https://example.com/${contact.city}.wav
    speak: Hello ${contact.first_name} ${contact.zip}
    save: ok
    accept: { 1: yes, 2-4: maybe, 05: "five" }
    digits: { 007: bye, 0: repeat }
    keys: { no: bye }
    no_input: bye
    invalid: { language: fr-FR, speak: Pardon, tries: 2, next: hangup }
    next: bye
  bye: { opt_out: true, speak: Bye, language: es-MX, hangup: done }
`
	_, err := flow.Compile("test.yaml", []byte(source))
	if err == nil || !strings.Contains(err.Error(), `test.yaml:13:13: keys: "no" is not`) {
		t.Fatalf("want the key no refused as it is written, got %v", err)
	}
	p := mustCompile(t, strings.Replace(source, "no: bye", "\"*\": bye", 1))
	want := &flow.Program{
		Name:     "small",
		Hash:     flow.Hash(p.Source),
		Language: "en-US",
		Source:   p.Source,
		Contact:  []flow.Column{{Name: "first_name", Default: "there"}, {Name: "city", Required: true}, {Name: "zip", Required: true}},
		Start:    flow.Start{Answered: "hello", Incoming: flow.TargetHangup},
		Order:    []string{"hello", "bye"},
		Steps: map[string]*flow.Step{
			"hello": {
				Name: "hello", Line: 7, Column: 3, Next: "bye",
				Prompt: flow.Prompt{Language: "en-US"},
				Question: &flow.Question{
					Collect: telesign.CollectDigits{Max: 3},
					Tries:   3,
					Save:    "ok",
					Accept:  []flow.Accept{{From: "1", Label: "yes"}, {From: "2", To: "4", Label: "maybe"}, {From: "05", Label: "five"}},
					Routes:  map[string]string{"007": "bye", "0": flow.TargetRepeat},
					Keys:    map[string]string{"*": "bye"},
					NoInput: flow.Retry{Prompt: flow.Prompt{Language: "en-US"}, Next: "bye"},
					Invalid: flow.Retry{Prompt: flow.Prompt{Language: "fr-FR"}, Tries: 2, Next: flow.TargetHangup},
				},
			},
			"bye": {Name: "bye", Line: 17, Column: 3, Prompt: flow.Prompt{Language: "es-MX"}, Hangup: "done", OptOut: true},
		},
	}
	ignoreTexts := cmp.Comparer(func(_, _ flow.Text) bool { return true })
	if diff := cmp.Diff(want, p, ignoreTexts); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	hello := p.Steps["hello"]
	if got := said(hello.Prompt); got != "https://example.com/${contact.city}.wav|Hello ${contact.first_name} ${contact.zip}|en-US" {
		t.Errorf("hello says %q", got)
	}
	if got := said(hello.Question.Invalid.Prompt); got != "Pardon|fr-FR" {
		t.Errorf("invalid says %q", got)
	}
}

// The question block and a step, merged field by field.
func TestMerge(t *testing.T) {
	t.Parallel()
	const file = `
name: merge
language: en-US
question: { %s }
start: { answered: ask }
steps:
  ask:
    speak: Ask
    digits: { 1: a }
    %s
  a: { speak: A, digits: { 1: b, 2: c }, keys: { 9: b, "*": b, 0: b }, no_input: hangup, invalid: hangup }
  b: { speak: B, next: hangup }
  c: { speak: C, next: hangup }
`
	all := `collect_digits: { max: 2, timeout: 10s, inter_digit_timeout: 3s, terminators: "#" }, tries: 4, keys: { "*": repeat, 9: b }, ` +
		`no_input: { play: https://x.example/n.wav, speak: N, tries: 3, next: b }, invalid: { speak: I, tries: 2, next: c }`
	base := func() flow.Question {
		return flow.Question{
			Collect: telesign.CollectDigits{Max: 2, Timeout: 10 * time.Second, InterDigitTimeout: 3 * time.Second, Terminators: "#"},
			Tries:   4,
			Routes:  map[string]string{"1": "a"},
			Keys:    map[string]string{"*": "repeat", "9": "b"},
			NoInput: flow.Retry{Tries: 3, Next: "b"},
			Invalid: flow.Retry{Tries: 2, Next: "c"},
		}
	}
	for _, tt := range []struct {
		name, block, step string
		change            func(*flow.Question)
		noInput, invalid  string // what is said
	}{
		{"block alone", all, `opt_out: false`, func(*flow.Question) {}, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"max", all, `collect_digits: { max: 5 }`, func(q *flow.Question) { q.Collect.Max = 5 }, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"timers", all, `collect_digits: { timeout: 1s, inter_digit_timeout: 500ms }`, func(q *flow.Question) {
			q.Collect.Timeout, q.Collect.InterDigitTimeout = time.Second, 500*time.Millisecond
		}, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"terminators taken back", all, `collect_digits: { terminators: "" }`, func(q *flow.Question) { q.Collect.Terminators = "" }, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"nothing named", all, `collect_digits: {}`, func(*flow.Question) {}, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"tries", all, `tries: 7`, func(q *flow.Question) { q.Tries = 7 }, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"bare target", all, `no_input: c`, func(q *flow.Question) { q.NoInput.Next = "c" }, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"retry tries", all, `no_input: { tries: 2 }`, func(q *flow.Question) { q.NoInput.Tries = 2 }, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"a prompt is one thing", all, `no_input: { speak: M }`, func(*flow.Question) {}, "M|en-US", "I|en-US"},
		{"with its language", all, `invalid: { speak: M, language: fr-FR }`, func(*flow.Question) {}, "https://x.example/n.wav|N|en-US", "M|fr-FR"},
		{"or the step's", all, "invalid: { speak: M }\n    language: fr-FR", func(*flow.Question) {}, "https://x.example/n.wav|N|en-US", "M|fr-FR"},
		{"keys key by key", all, `keys: { 9: c, 0: repeat }`, func(q *flow.Question) {
			q.Keys = map[string]string{"*": "repeat", "9": "c", "0": "repeat"}
		}, "https://x.example/n.wav|N|en-US", "I|en-US"},
		{"step alone", ``, `no_input: b
    invalid: c`, func(q *flow.Question) {
			*q = flow.Question{
				Collect: telesign.CollectDigits{Max: 1}, Tries: flow.DefaultTries, Routes: q.Routes,
				NoInput: flow.Retry{Next: "b"}, Invalid: flow.Retry{Next: "c"},
			}
		}, "en-US", "en-US"},
		{"half and half", `no_input: b, invalid: { speak: I }`, `invalid: c`, func(q *flow.Question) {
			*q = flow.Question{
				Collect: telesign.CollectDigits{Max: 1}, Tries: flow.DefaultTries, Routes: q.Routes,
				NoInput: flow.Retry{Next: "b"}, Invalid: flow.Retry{Next: "c"},
			}
		}, "en-US", "I|en-US"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := *mustCompile(t, fmt.Sprintf(file, tt.block, tt.step)).Steps["ask"].Question
			if noInput, invalid := said(got.NoInput.Prompt), said(got.Invalid.Prompt); noInput != tt.noInput || invalid != tt.invalid {
				t.Errorf("no_input says %q, want %q; invalid says %q, want %q", noInput, tt.noInput, invalid, tt.invalid)
			}
			got.NoInput.Prompt, got.Invalid.Prompt = flow.Prompt{}, flow.Prompt{}
			want := base()
			tt.change(&want)
			if diff := cmp.Diff(want, got, texts); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// What a step listens for when it does not say everything.
func TestDefaults(t *testing.T) {
	t.Parallel()
	const retry = ", no_input: hangup, invalid: hangup"
	for _, tt := range []struct {
		step, block string
		max         int
		open, any   bool
	}{
		{step: "collect_digits: {}", max: 1, open: true, any: true},
		{step: "collect_digits: { max: 4 }", max: 4, open: true, any: true},
		{step: "collect_digits: {}", block: "tries: 2", max: 1, open: true, any: true},
		{step: "collect_digits: {}", block: "no_input: hangup", max: 1, open: true},
		{step: "collect_digits: {}, no_input: hangup", max: 1, open: true},
		{step: "collect_digits: {}, no_input: hangup, keys: { 99: hangup }", max: 2, open: true},
		{step: "save: x, no_input: hangup", max: 1, open: true},
		{step: "save: x, no_input: hangup", block: "collect_digits: { max: 3 }", max: 3, open: true},
		{step: "accept: { 0-10: rating }" + retry, max: 2},
		{step: "accept: { 1: yes }, digits: { 007: hangup }" + retry, max: 3},
		{step: "accept: { 1: yes }" + retry, block: "keys: { 1234: hangup }", max: 4},
	} {
		t.Run(tt.step+" "+tt.block, func(t *testing.T) {
			t.Parallel()
			q := mustCompile(t, fmt.Sprintf("name: f\nquestion: { %s }\nstart: { answered: a }\nsteps:\n  a: { speak: A, next: hangup, %s }\n", tt.block, tt.step)).Steps["a"].Question
			if q.Collect.Max != tt.max || q.Open != tt.open || q.Any != tt.any {
				t.Errorf("max %d open %v any %v, want %d %v %v", q.Collect.Max, q.Open, q.Any, tt.max, tt.open, tt.any)
			}
			if (q.NoInput.Next == "") != tt.any || (q.Invalid.Next == "") != tt.open {
				t.Errorf("leads to %q without input and %q with an invalid one", q.NoInput.Next, q.Invalid.Next)
			}
		})
	}
}

func TestCompileReportsErrorsOnly(t *testing.T) {
	t.Parallel()
	source := []byte("name: f\ncontact: { unused: x }\nstart: { answered: a }\nsteps:\n  a: { speak: A, nxt: hangup }\n")
	_, err := flow.Compile("f.yaml", source)
	var problems flow.Problems
	if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Severity != flow.SeverityError {
		t.Fatalf("got %v", err)
	}
	if got, want := err.Error(), `f.yaml:5:18: unknown key "nxt" in step a (did you mean next?)`; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := flow.Check("f.yaml", source); len(got) != 2 || got[0].Severity != flow.SeverityWarning {
		t.Errorf("Check: %v", got)
	}
	_, err = flow.Compile("f.yaml", []byte("name: f\ncontact: { unused: x }\nstart: { answered: a }\nsteps:\n  a: { speak: A, next: hangup }\n"))
	if err != nil {
		t.Errorf("a warning does not fail: %v", err)
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	check := func(source string) string {
		problems := flow.Check("f.yaml", []byte(source))
		if len(problems) == 0 {
			return ""
		}
		return problems[0].String()
	}
	steps := func(n int) string {
		var b strings.Builder
		b.WriteString("name: f\nstart: { answered: s0 }\nsteps:\n")
		for i := range n - 1 {
			fmt.Fprintf(&b, "  s%d: { speak: Step, next: s%d }\n", i, i+1)
		}
		fmt.Fprintf(&b, "  s%d: { speak: Step, next: hangup }\n", n-1)
		return b.String()
	}
	full := steps(2) + "# " + strings.Repeat("x", flow.MaxSource-len(steps(2))-2)
	for _, tt := range []struct{ name, source, want string }{
		{"largest file", full, ""},
		{"too large", full + "x", "f.yaml:1:1: the file has 1048577 bytes, more than 1048576"},
		{"most steps", steps(flow.MaxSteps), ""},
		{"too many steps", steps(flow.MaxSteps + 1), "f.yaml:1004:3: the flow has more than 1000 steps; the rest is not read"},
		{"UTF-8", "name: f\nlanguage: \xff\n", "f.yaml:2:11: the file is not UTF-8 (save the file as UTF-8)"},
		{"UTF-16", "\xff\xfen\x00a\x00", "f.yaml:1:1: the file is not UTF-8 (save the file as UTF-8)"},
		{"byte order mark", "\ufeff" + steps(2), ""},
		{"which is no column", "\ufeff{ *: x }", `f.yaml:1:3: an unquoted * begins a YAML alias (for the key, write "*" in quotes)`},
		{"CRLF", strings.ReplaceAll(steps(2), "\n", "\r\n"), ""},
		{
			"columns count characters",
			"name: f\nstart: { answered: a }\nsteps:\n  a: { speak: \"Üü ${x} ü\", hangup: done }\n",
			"f.yaml:4:19: unknown variable ${x} (known are call.id, call.direction, call.from, call.to, call.attempt, call.answered_at)",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if got := check(tt.source); got != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// Stored flows are found by their hash: it must never change for the same bytes.
func TestHash(t *testing.T) {
	t.Parallel()
	for source, want := range map[string]string{
		"":             "e3b0c44298fc1c149afbf4c8996fb924",
		"name: f\n":    "",
		"name:  f\n":   "",
		"name: f\r\n":  "",
		"name: f #x\n": "",
	} {
		got := flow.Hash([]byte(source))
		if want != "" && got != want {
			t.Errorf("Hash(%q) = %s, want %s", source, got, want)
		}
		if len(got) != 32 || source != "" && got == flow.Hash([]byte("name: g\n")) {
			t.Errorf("Hash(%q) = %s", source, got)
		}
	}
	source := []byte("name: f\nstart: { answered: a }\nsteps:\n  a: { speak: A, next: hangup }\n")
	p, err := flow.Compile("f.yaml", source)
	if err != nil {
		t.Fatal(err)
	}
	if p.Hash != flow.Hash(source) || p.Hash != "bca24a18a885fd00d324b06602428a16" {
		t.Errorf("the program's hash is %s", p.Hash)
	}
	source[0] = 'x'
	if p.Source[0] != 'n' {
		t.Error("the program shares its source with the caller")
	}
}
