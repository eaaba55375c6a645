package simulator

import (
	"errors"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

func TestInject(t *testing.T) {
	t.Parallel()
	c := Defaults()
	err := c.Inject(
		"duplicate=5%:copies=100:after=0s..200ms:event=play_completed",
		"dial-5xx=0.5:status=500:during=10s..15s",
		"second-url=100%:after=1s:url=http://127.0.0.1:8081/a?b=c:d",
		"post-again=3:after=200ms",
		"leg-events=completed-then-dial",
		"dial-429=1",
	)
	if err != nil {
		t.Fatal(err)
	}
	want := Defaults()
	want.Faults = []Fault{
		{Kind: FaultDuplicate, Share: 0.05, Copies: 100, After: Span{0, 200 * time.Millisecond}, Event: telesign.PlayCompleted},
		{Kind: FaultDial5xx, Share: 0.5, Status: http.StatusInternalServerError, During: Span{10 * time.Second, 15 * time.Second}},
		{Kind: FaultSecondURL, Share: 1, After: Span{time.Second, time.Second}, URL: "http://127.0.0.1:8081/a?b=c:d"},
		{Kind: FaultDial429, Share: 1},
	}
	want.Assume.PostAgain, want.Assume.PostAgainAfter = 3, 200*time.Millisecond
	want.Assume.LegEvents = LegCompletedThenDial
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestInjectNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	const kinds = "duplicate, second-url, delay, overtaken, lost-completed, cut-after-answer, cut-before-answer, early-events, slow-ring, " +
		"hang-up-in-hold, leg-not-answered, dial-429, dial-5xx, dial-5xx-rings, dial-timeout, dial-timeout-rings"
	for spec, want := range map[string]string{
		"":                                `want NAME=SHARE[:OPTION=VALUE…], such as duplicate=5%`,
		"duplicate":                       `want NAME=SHARE[:OPTION=VALUE…], such as duplicate=5%`,
		"dupe=5%":                         `no fault is called "dupe"; there are ` + kinds,
		"duplicate=":                      `the share is "", want a percentage such as 5%, or a number from 0 to 1`,
		"duplicate=5":                     `the share is "5", want a percentage such as 5%, or a number from 0 to 1`,
		"duplicate=101%":                  `the share is "101%", want a percentage such as 5%, or a number from 0 to 1`,
		"duplicate=NaN":                   `the share is "NaN", want a percentage such as 5%, or a number from 0 to 1`,
		"duplicate=5%:status=500":         `duplicate takes no "status"; it takes copies, after, event, during`,
		"lost-completed=5%:after=1s":      `lost-completed takes no "after"; it takes during`,
		"duplicate=5%:copies=0":           `copies is "0", want a whole number from 1`,
		"duplicate=5%:copies=101":         `duplicate has copies=101, want 1 to 100`,
		"duplicate=5%:after=soon":         `after is "soon", want a duration or a span, such as 200ms or 100ms..2s`,
		"duplicate=5%:after=2s..1s":       `after is "2s..1s", want a duration or a span, such as 200ms or 100ms..2s`,
		"duplicate=5%:after=-1s":          `after is "-1s", want a duration or a span, such as 200ms or 100ms..2s`,
		"duplicate=5%:during=5s":          `during is "5s", want two durations, such as 10s..15s`,
		"duplicate=5%:during=5s..5s":      `duplicate has during=5s..5s, want a later time after an earlier one`,
		"duplicate=5%:event=nothing":      `duplicate has event=nothing, want an event's name`,
		"dial-5xx=5%:status=404":          `dial-5xx has status=404, want 500 to 599`,
		"delay=5%":                        `delay needs after`,
		"second-url=5%":                   `second-url needs url`,
		"second-url=5%:url=127.0.0.1:80":  `second-url has url=127.0.0.1:80, want an http or https URL`,
		"post-again=0":                    `post-again is "0", want a whole number from 1`,
		"post-again=1:copies=3":           `post-again takes no "copies"; it takes after`,
		"post-again=1:after=1":            `after is "1", want a duration, such as 200ms`,
		"leg-events=none":                 `leg-events is "none", want one of completed, dial-then-completed, completed-then-dial`,
		"leg-events=completed:after=1ms":  `leg-events takes no options`,
		"dial-timeout=5%:event=play_done": `dial-timeout takes no "event"; it takes after, during`,
	} {
		c := Defaults()
		if err := c.Inject("delay=1%:after=1s", spec); err == nil || err.Error() != `"`+spec+`": `+want {
			t.Errorf("%q\n got %v\nwant %s", spec, err, want)
		}
	}
}

func TestConfigNamesFaultsThatCannotWork(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		field, says string
		change      func(c *Config)
	}{
		{"Faults", "duplicate has a share of 1.5", func(c *Config) { c.Faults = []Fault{{Kind: FaultDuplicate, Share: 1.5}} }},
		{"Faults", "duplicate has a share of NaN", func(c *Config) { c.Faults = []Fault{{Kind: FaultDuplicate, Share: math.NaN()}} }},
		{"Faults", `no fault is called ""`, func(c *Config) { c.Faults = []Fault{{}} }},
		{"Faults", "dial-429 takes no copies", func(c *Config) { c.Faults = []Fault{{Kind: FaultDial429, Copies: 1}} }},
		{"Faults", "after=-1ns", func(c *Config) { c.Faults = []Fault{{Kind: FaultDuplicate, After: Span{-1, 5}}} }},
		{"Faults", "copies=-1", func(c *Config) { c.Faults = []Fault{{Kind: FaultDuplicate, Copies: -1}} }},
		{"HoldTexts", `" <speak/>"`, func(c *Config) { c.HoldTexts = []string{" <speak/>"} }},
		{"Assume.PostAgain, PostAgainAfter", "-1", func(c *Config) { c.Assume.PostAgain = -1 }},
		{"Assume.LegEvents", `""`, func(c *Config) { c.Assume.LegEvents = "" }},
	} {
		c := config()
		tt.change(&c)
		_, err := New(c, quiet())
		var e *messages.Error
		if !errors.As(err, &e) || e.Code != messages.CodeUsage || e.Field != tt.field || !strings.Contains(e.Message, tt.says) {
			t.Errorf("%s: %v, want a usage error about %s that says %q", tt.field, err, tt.field, tt.says)
		}
	}
}

func TestFaultHelpListsEveryFault(t *testing.T) {
	t.Parallel()
	golden(t, "testdata/faults.txt", []byte(FaultHelp()))
}

// Whatever is given, what is accepted is valid, and what is not is repeated.
func FuzzInject(f *testing.F) {
	for _, spec := range []string{"duplicate=5%:copies=3", "second-url=1:url=http://a:1/b", "dial-5xx=1:during=1s..2s", "post-again=1:after=1s", "leg-events=completed", "=", "::="} {
		f.Add(spec)
	}
	f.Fuzz(func(t *testing.T, spec string) {
		c := config()
		err := c.Inject(spec)
		if err == nil {
			err = c.Validate()
			if err != nil {
				t.Fatalf("%q was accepted and cannot work: %v", spec, err)
			}
		}
	})
}
