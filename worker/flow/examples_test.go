package flow_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker/flow"
)

const examples = "../../deploy/examples/"

func TestExamples(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"play-and-collect", "visit-survey"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			source := read(t, examples+name+".yaml")
			if problems := flow.Check(name, source); len(problems) > 0 {
				t.Fatal(problems)
			}
			if p := mustCompile(t, string(source)); p.Name != name {
				t.Errorf("its name is %s", p.Name)
			}
		})
	}
}

// TeleSign's page answers "answered" with this action; the flow that does so is
// shorter than the action itself.
func TestPlayAndCollect(t *testing.T) {
	t.Parallel()
	const action = `{"jsonrpc":"2.0","method":"play","params":{"url":"https://url-pointing-to-audio-file.com","collect_digits":{"max":5,"timeout":10000,"inter_digit_timeout":3000,"terminators":"#"}}}`
	source := read(t, examples+"play-and-collect.yaml")
	p := mustCompile(t, string(source))
	step := p.Steps[p.Start.Answered]
	got, err := telesign.Encode(telesign.Play{URL: step.Prompt.Play.Render(nil), CollectDigits: &step.Question.Collect})
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != action {
		t.Errorf("got  %s\nwant %s", got, action)
	}
	if !step.Question.Any || step.Next != flow.TargetHangup {
		t.Errorf("it must hang up after any completion: %+v", step)
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(action), "", "  "); err != nil {
		t.Fatal(err)
	}
	pretty.WriteByte('\n')
	lines := func(b []byte) int { return bytes.Count(b, []byte("\n")) }
	if len(source) > pretty.Len() || lines(source) > lines(pretty.Bytes()) {
		t.Errorf("%d bytes in %d lines, the action has %d in %d", len(source), lines(source), pretty.Len(), lines(pretty.Bytes()))
	}
}

func BenchmarkCompile(b *testing.B) {
	source := read(b, examples+"visit-survey.yaml")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := flow.Compile("visit-survey.yaml", source); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	q := mustCompile(b, string(read(b, examples+"visit-survey.yaml"))).Steps["rating"].Question
	b.ReportAllocs()
	for b.Loop() {
		if q.Match("3").Kind != flow.Accepted {
			b.Fatal("not accepted")
		}
	}
}
