package flow_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/worker/flow"
)

// Random flows, most of them nearly right: Check and Compile agree, what compiles
// keeps its promises, and every error names something that is there.
func TestRandomFlows(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	author := author{rand.New(rand.NewPCG(seed, 0))}
	compiled := 0
	for range 3000 {
		source := author.flow()
		problems := flow.Check("f", []byte(source))
		program, err := flow.Compile("f", []byte(source))
		if (err == nil) != (len(problems.Errors()) == 0) {
			t.Fatalf("Compile says %v, Check %v\n%s", err, problems, source)
		}
		lines := strings.Split(source, "\n")
		for _, p := range problems {
			if strings.Contains(p.Message, "not YAML") || p.Line > len(lines) || p.Column > len(lines[p.Line-1])+1 {
				t.Errorf("%s\n%s", p, source)
			}
		}
		if err == nil {
			compiled++
			checkProgram(t, program)
		}
		if t.Failed() {
			t.Fatal(source)
		}
	}
	t.Logf("%d compiled", compiled)
	if compiled < 30 || compiled > 2970 {
		t.Errorf("%d of 3000 flows compiled: the rest proves nothing", compiled)
	}
}

// author writes flows at random.
type author struct{ *rand.Rand }

func (a author) one(of ...string) string { return of[a.IntN(len(of))] }

// maybe is text in one of n cases, else nothing.
func (a author) maybe(n int, text string) string {
	if a.IntN(n) == 0 {
		return text
	}
	return ""
}

func (a author) target() string {
	return a.one("s0", "s1", "s2", "s3", "s4", "s5", "hangup", "hangup")
}

func (a author) prompt() string {
	return a.one(`speak: "Hello"`, `speak: "${contact.name} ${answers.n}"`, `play: https://x.example/a.wav`,
		`play: "https://x.example/${call.id}.wav", speak: "<speak>${contact.name}</speak>"`, `speak: Hi, language: es-419`)
}

func (a author) retry() string {
	return a.one(a.target(), "{ next: "+a.target()+a.maybe(2, ", tries: "+a.one("1", "2", "3"))+a.maybe(2, ", "+a.prompt())+" }")
}

func (a author) routes(targets ...string) string {
	var routes []string
	for _, key := range []string{`"*"`, "0", "1", "2", "9", "07", "99", `"#"`} {
		if a.IntN(4) == 0 {
			routes = append(routes, key+": "+a.one(append(targets, a.target())...))
		}
	}
	if len(routes) == 0 {
		return "{ 1: " + a.target() + " }"
	}
	return "{ " + strings.Join(routes, ", ") + " }"
}

func (a author) collect() string {
	return "collect_digits: { " + strings.Trim(a.maybe(2, "max: 2, ")+a.maybe(2, "timeout: 10s, ")+a.maybe(4, `terminators: "#", `), ", ") + " }"
}

func (a author) question() string {
	return a.maybe(3, ", tries: "+a.one("1", "2", "5")) + a.maybe(3, ", no_input: "+a.retry()) + a.maybe(3, ", invalid: "+a.retry()) +
		a.maybe(3, ", keys: "+a.routes("repeat"))
}

func (a author) flow() string {
	var b strings.Builder
	fmt.Fprintf(&b, "name: random\n%scontact: { name: you }\n", a.maybe(2, "language: en-US\n"))
	if a.IntN(3) > 0 {
		fmt.Fprintf(&b, "question: { %s, no_input: %s, invalid: %s%s }\n", a.collect(), a.retry(), a.retry(), a.maybe(2, ", keys: "+a.routes("repeat")))
	}
	b.WriteString("start: { answered: s0" + a.maybe(2, ", incoming: s5") + " }\nsteps:\n")
	for i := range 6 {
		after := fmt.Sprintf("s%d", (i+1)%6)
		next := ", next: " + a.one(a.target(), after, after, after, after)
		if i == 5 || a.IntN(12) == 0 {
			next = ", hangup: " + a.one("done", "completed")
		}
		step := a.prompt()
		switch a.IntN(5) {
		case 0:
			step += next
		case 1:
			step += ", digits: " + a.routes("repeat", after, after, after) + a.question()
		case 2:
			step += ", save: n, accept: " + a.one("{ 1-5: rating }", "{ 1: yes, 2: no }", "{ 3: three, 0-10: all }") + next + a.question()
		case 3:
			step += ", " + a.collect() + a.maybe(2, ", save: n") + next + a.question()
		case 4:
			step += a.maybe(3, ", opt_out: true") + next
		}
		fmt.Fprintf(&b, "  s%d: { %s }\n", i, step)
	}
	return b.String()
}
