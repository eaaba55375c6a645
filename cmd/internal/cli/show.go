package cli

import (
	"bytes"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// writeCall prints a call for people: what it is, what came of it, and line by line
// what happened. Times are UTC.
func writeCall(w io.Writer, c messages.Call) error {
	r := c.Record
	t := newTable()
	line := func(name string, values ...string) {
		if value := strings.TrimSpace(strings.Join(values, " ")); value != "" {
			t.row(name, value)
		}
	}
	line("status", string(c.Status))
	line("disposition", string(r.Disposition), r.Reason)
	line("call", r.CallID)
	line("placed as", r.ExternalID)
	line("flow", r.Flow, r.FlowHash)
	line("direction", r.Direction)
	line("to", r.To)
	line("from", r.From)
	if i := c.Intent; i != nil {
		line("placed", i.CreatedAt.UTC().Format(time.RFC3339))
		line("dial", i.Outcome, httpStatus(i.HTTPStatus))
	}
	line("answered", instant(r.AnsweredAt))
	line("ended", instant(r.EndedAt))
	line("last step", r.LastStep)
	line("hung up by", string(r.HungUpBy))
	if r.TalkSeconds > 0 {
		line("talked", time.Duration(r.TalkSeconds*float64(time.Second)).Round(100*time.Millisecond).String())
	}
	if r.Holds > 0 {
		line("holds", strconv.Itoa(r.Holds))
	}
	line("recording", r.AudioRecordingFileName)
	if len(r.Answers) > 0 {
		t.heading("answer", "keys", "label")
		for _, answer := range r.Answers {
			t.row(answer.Name, answer.Value, answer.Label)
		}
	}
	if len(r.Timeline) > 0 {
		t.heading("arrived", "event", "decision", "step", "decided after", "answer")
		for _, m := range r.Timeline {
			after := ""
			if m.DecidedAt != nil {
				after = m.DecidedAt.Sub(m.At).Round(100 * time.Microsecond).String()
			}
			t.row(m.At.UTC().Format("15:04:05.000"), words(m.Event, m.Status, m.Digits), words(m.Decision, m.Reason), m.Step, after, brief(m.Action))
		}
	}
	return t.print(w)
}

func httpStatus(status int) string {
	if status == 0 {
		return ""
	}
	return fmt.Sprintf("(HTTP %d)", status)
}

func instant(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.UTC().Format(time.RFC3339)
}

// words are those that are not empty.
func words(all ...string) string { return strings.Join(strings.Fields(strings.Join(all, " ")), " ") }

// maxBrief is how many characters of a prompt a timeline shows; --json has it all.
const maxBrief = 60

// brief is an answer in a few words.
func brief(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	action, err := telesign.ParseAction(body)
	if err != nil || action == nil {
		return string(body)
	}
	what := ""
	switch a := action.(type) {
	case telesign.Speak:
		what = a.Message
	case telesign.Play:
		what = a.URL
	case telesign.PlayMultiple:
		what = strings.Join(a.URLs, " ")
	}
	if runes := []rune(what); len(runes) > maxBrief {
		what = string(runes[:maxBrief]) + "…"
	}
	return words(string(action.Method()), what)
}

// table is text in columns. What is in it comes from callers, files and TeleSign:
// nothing that a terminal would obey gets through.
type table struct {
	text bytes.Buffer
	tabs *tabwriter.Writer
}

func newTable() *table {
	t := &table{}
	t.tabs = tabwriter.NewWriter(&t.text, 0, 0, 2, ' ', 0)
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = strings.Map(func(r rune) rune {
			if !unicode.IsPrint(r) {
				return '·'
			}
			return r
		}, cell)
	}
	fmt.Fprintln(t.tabs, strings.Join(cells, "\t"))
}

// heading begins new columns.
func (t *table) heading(cells ...string) {
	fmt.Fprintln(t.tabs)
	t.row(cells...)
}

// print writes the table, without the spaces of empty cells at the end of lines.
func (t *table) print(w io.Writer) error {
	if err := t.tabs.Flush(); err != nil {
		return err
	}
	var out strings.Builder
	for line := range strings.Lines(t.text.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}
