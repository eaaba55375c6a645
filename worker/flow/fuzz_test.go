package flow_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

// Anybody may write a flow. Whatever the bytes: no panic, Check and Compile agree,
// every problem has a place inside the file, and a program keeps what Program
// promises.
func FuzzCompile(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("no testdata: %v", err)
	}
	more, _ := filepath.Glob(examples + "*.yaml")
	for _, file := range append(files, more...) {
		source, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(source)
	}
	f.Fuzz(func(t *testing.T, source []byte) {
		problems := flow.Check("f", source)
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Line > len(source)+1 || p.Column > len(source)+1 || p.Message == "" || p.File != "f" {
				t.Errorf("a problem without a place: %#v", p)
			}
		}
		program, err := flow.Compile("f", source)
		if (err == nil) != (len(problems.Errors()) == 0) {
			t.Fatalf("Compile says %v, Check %v", err, problems)
		}
		if err == nil {
			checkProgram(t, program)
		}
	})
}

// checkProgram checks what Program promises to the state machine.
func checkProgram(t *testing.T, p *flow.Program) {
	t.Helper()
	target := func(name string, ok ...string) {
		t.Helper()
		for _, o := range ok {
			if name == o {
				return
			}
		}
		if p.Steps[name] == nil {
			t.Errorf("%q is no target", name)
		}
	}
	if len(p.Order) != len(p.Steps) || p.Start == (flow.Start{}) {
		t.Errorf("order %v, start %v", p.Order, p.Start)
	}
	target(p.Start.Answered, "", flow.TargetHangup)
	target(p.Start.Incoming, "", flow.TargetHangup)
	value := func(string) string { return `<5&"'/>` }
	sendable := func(prompt flow.Prompt, collect *telesign.CollectDigits) {
		t.Helper()
		if !prompt.Play.IsZero() {
			if err := (telesign.Play{URL: prompt.Play.Render(value), CollectDigits: collect}).Validate(); err != nil {
				t.Error(err)
			}
		}
		if !prompt.Speak.IsZero() {
			if err := (telesign.Speak{Message: prompt.Speak.Render(value), Language: prompt.Language, CollectDigits: collect}).Validate(); err != nil {
				t.Error(err)
			}
		}
	}
	for name, s := range p.Steps {
		q := s.Question
		if s.Name != name || s.Line < 1 || s.Column < 1 || (s.Next != "" && s.Hangup != "") {
			t.Errorf("step %+v", s)
		}
		target(s.Next, "", flow.TargetHangup)
		if q == nil {
			if s.Next == "" && s.Hangup == "" {
				t.Errorf("step %s is a dead end", name)
			}
			sendable(s.Prompt, nil)
			// A circle must pass a step that listens.
			at := s
			for range len(p.Steps) + 1 {
				if at == nil || at.Question != nil {
					break
				}
				at = p.Steps[at.Next]
			}
			if at != nil && at.Question == nil {
				t.Errorf("step %s never listens again", name)
			}
			continue
		}
		sendable(s.Prompt, &q.Collect)
		sendable(q.NoInput.Prompt, &q.Collect)
		sendable(q.Invalid.Prompt, &q.Collect)
		if s.Prompt.IsZero() || q.Tries < 1 || q.Any && !q.Open || q.Any && len(q.Keys) > 0 {
			t.Errorf("question of %s: %+v", name, q)
		}
		if !q.Any {
			target(q.NoInput.Next, flow.TargetHangup)
		}
		if !q.Open {
			target(q.Invalid.Next, flow.TargetHangup)
		}
		// Everything the author wrote for this step can be pressed and means what it says.
		for key, to := range q.Routes {
			target(to, flow.TargetHangup, flow.TargetRepeat)
			if m := q.Match(key); len(key) > q.Collect.Max || (m.Kind != flow.Repeat || to != flow.TargetRepeat) && (m.Kind != flow.Routed || m.Target != to) {
				t.Errorf("step %s: digits %s means %+v", name, key, m)
			}
		}
		for _, a := range q.Accept {
			if m := q.Match(a.From); a.To == "" && (m.Kind != flow.Accepted || m.Label != a.Label) {
				t.Errorf("step %s: accept %s means %+v", name, a.From, m)
			}
			if len(a.To) > q.Collect.Max || len(a.From) > q.Collect.Max {
				t.Errorf("step %s: accept %+v is longer than %d", name, a, q.Collect.Max)
			}
		}
		for _, to := range q.Keys {
			target(to, flow.TargetHangup, flow.TargetRepeat)
		}
	}
}

// Files made to take long: each must be judged about as fast as it is read, a second
// at most. The limit leaves room for slow machines and the race detector; a search
// for variables that begins anew for each took 48 s.
func TestQuick(t *testing.T) {
	const (
		size  = flow.MaxSource / 2
		limit = 25 * time.Second
	)
	fill := func(head, line string) string {
		return head + strings.Repeat(line, (size-len(head))/len(line))
	}
	number := func(head string, n int, line func(i int) string, tail string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; i < n && b.Len() < size-200-len(tail); i++ {
			b.WriteString(line(i))
		}
		b.WriteString(tail)
		return b.String()
	}
	for name, source := range map[string]string{
		"open brackets":   fill("", "["),
		"open maps":       fill("", "{a: "),
		"nested lists":    fill("", "- "),
		"nested keys":     fill("", "? "),
		"comments":        fill("", "#: x\n"),
		"routes lost":     fill("a: {", "#: x\n"),
		"stars":           fill("", "*a: b\n"),
		"quotes":          fill("", "'a'"),
		"a quote":         fill("a: '", "a\n"),
		"one line":        fill("name: ", "a"),
		"flow text":       fill("a: [", "a "),
		"variables":       fill("name: f\nsteps:\n  a:\n    speak: ", "${a}"),
		"variables lines": fill("name: f\nsteps:\n  a:\n    speak: |\n", "      ${a}\n"),
		"tags":            fill("name: f\nsteps:\n  a:\n    speak: ", "<a "),
		"ssml":            fill("name: f\nsteps:\n  a:\n    speak: <speak>", "<a>"),
		"same key":        fill("name: f\n", "name: f\n"),
		"unknown keys":    number("name: f\n", 1<<20, func(i int) string { return "nam" + strings.Repeat("e", i%60) + string(rune('a'+i%26)) + ": f\n" }, ""),
		"steps":           number("name: f\nsteps:\n", 1<<20, func(i int) string { return "  " + number36(i) + ": { next: x" + number36(i) + " }\n" }, ""),
		"entries": number("name: f\nstart: { answered: a }\nsteps:\n", 100, func(i int) string {
			return "  " + number36(i) + ": { speak: x, accept: { " + number(" ", 499, func(j int) string { return "\"" + decimal(2*j) + "-" + decimal(2*j+1) + "\": x, " }, "") + " } }\n"
		}, ""),
		"saves": number("name: f\nstart: { answered: s0 }\nquestion: { no_input: hangup }\nsteps:\n", 999, func(i int) string {
			return "  s" + decimal(i) + ": { speak: \"${answers.a" + decimal(999-i) + "} ${answers.a" + decimal(i/2) + "}\", save: a" + decimal(i) + ", next: s" + decimal(i+1) + ", keys: { 1: s" + decimal(i/2) + ", 2: s" + decimal(i/3) + " } }\n"
		}, "  s999: { speak: x, next: hangup }\n"),
	} {
		t.Run(name, func(t *testing.T) {
			begin := time.Now()
			problems := flow.Check("f", []byte(source))
			took := time.Since(begin)
			t.Logf("%d bytes, %d problems, %v", len(source), len(problems), took)
			if took > limit {
				t.Errorf("took %v, more than %v", took, limit)
			}
		})
	}
}

func number36(i int) string { return strconv.FormatInt(int64(i), 36) }

func decimal(i int) string { return strconv.Itoa(i) }
