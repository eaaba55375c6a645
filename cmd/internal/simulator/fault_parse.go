package simulator

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// The two assumptions that can be given among the faults.
const (
	wordPostAgain = "post-again"
	wordLegEvents = "leg-events"
)

// Inject adds faults written as NAME=SHARE[:OPTION=VALUE…]:
//
//	duplicate=5%:copies=100:after=0s..200ms
//	dial-5xx=0.5:status=500:during=10s..15s
//	second-url=100%:url=http://127.0.0.1:8081/telesign/events
//
// url takes the rest of the text, so it comes last. Two assumptions are written
// the same way: post-again=TIMES[:after=PAUSE], for Assumptions.PostAgain, and
// leg-events=WORD, for Assumptions.LegEvents. The error repeats the text that is
// wrong and says what would not be.
func (c *Config) Inject(specs ...string) error {
	for _, spec := range specs {
		if err := c.inject(spec); err != nil {
			return fmt.Errorf("%q: %w", spec, err)
		}
	}
	return nil
}

func (c *Config) inject(spec string) error {
	name, rest, ok := strings.Cut(spec, "=")
	if !ok {
		return fmt.Errorf("want NAME=SHARE[:OPTION=VALUE…], such as %s=5%%", FaultDuplicate)
	}
	value, options, _ := strings.Cut(rest, ":")
	switch name {
	case wordPostAgain:
		return c.injectPostAgain(value, options)
	case wordLegEvents:
		if options != "" {
			return fmt.Errorf("%s takes no options", wordLegEvents)
		}
		c.Assume.LegEvents = LegEvents(value)
		return c.Assume.LegEvents.validate()
	}
	f := Fault{Kind: FaultKind(name)}
	kind, err := f.Kind.lookUp()
	if err != nil {
		return err
	}
	if f.Share, err = parseShare(value); err != nil {
		return err
	}
	for options != "" {
		var option string
		if option, options = cutOption(options); option == "" {
			continue
		}
		if err := f.set(kind, option); err != nil {
			return err
		}
	}
	if err := f.validate(); err != nil {
		return err
	}
	c.Faults = append(c.Faults, f)
	return nil
}

// cutOption cuts the first option off; a url is all that is left.
func cutOption(options string) (first, rest string) {
	if strings.HasPrefix(options, optionURL+"=") {
		return options, ""
	}
	first, rest, _ = strings.Cut(options, ":")
	return first, rest
}

// set reads one OPTION=VALUE.
func (f *Fault) set(kind faultKind, option string) (err error) {
	name, value, _ := strings.Cut(option, "=")
	if !kind.takes(name) {
		return fmt.Errorf("%s takes no %q; it takes %s", f.Kind, name, strings.Join(append(kind.options[:len(kind.options):len(kind.options)], optionDuring), ", "))
	}
	switch name {
	case optionAfter:
		f.After, err = parseSpan(name, value)
	case optionDuring:
		if !strings.Contains(value, "..") {
			return fmt.Errorf("during is %q, want two durations, such as 10s..15s", value)
		}
		f.During, err = parseSpan(name, value)
	case optionEvent:
		f.Event = telesign.EventName(value)
	case optionURL:
		f.URL = value
	case optionCopies:
		f.Copies, err = parseCount(name, value)
	case optionStatus:
		f.Status, err = parseCount(name, value)
	}
	return err
}

// injectPostAgain reads what comes after post-again=.
func (c *Config) injectPostAgain(value, options string) (err error) {
	if c.Assume.PostAgain, err = parseCount(wordPostAgain, value); err != nil || options == "" {
		return err
	}
	name, pause, _ := strings.Cut(options, "=")
	if name != optionAfter {
		return fmt.Errorf("%s takes no %q; it takes %s", wordPostAgain, name, optionAfter)
	}
	if c.Assume.PostAgainAfter, err = time.ParseDuration(pause); err != nil || c.Assume.PostAgainAfter < 0 {
		return fmt.Errorf("after is %q, want a duration, such as 200ms", pause)
	}
	return nil
}

func parseShare(text string) (float64, error) {
	number, percent := strings.CutSuffix(text, "%")
	share, err := strconv.ParseFloat(number, 64)
	if percent {
		share /= 100
	}
	if err != nil || math.IsNaN(share) || share < 0 || share > 1 {
		return 0, fmt.Errorf("the share is %q, want a percentage such as 5%%, or a number from 0 to 1", text)
	}
	return share, nil
}

func parseCount(name, text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		return 0, fmt.Errorf("%s is %q, want a whole number from 1", name, text)
	}
	return n, nil
}

// parseSpan reads one duration, or two with two dots between.
func parseSpan(name, text string) (Span, error) {
	low, high, two := strings.Cut(text, "..")
	from, err := time.ParseDuration(low)
	to := from
	if two && err == nil {
		to, err = time.ParseDuration(high)
	}
	if err != nil || from < 0 || to < from {
		return Span{}, fmt.Errorf("%s is %q, want a duration or a span, such as 200ms or 100ms..2s", name, text)
	}
	return Span{from, to}, nil
}

// FaultHelp lists the faults and the assumptions that Inject reads, for people.
func FaultHelp() string {
	var b strings.Builder
	for _, k := range faultKinds() {
		options := ""
		if len(k.options) > 0 {
			options = " [" + strings.Join(k.options, ", ") + "]"
		}
		fmt.Fprintf(&b, "  %-19s%s%s\n", k.kind, k.meaning, options)
	}
	fmt.Fprintf(&b, "  %-19s%s\n", wordPostAgain, "a number, not a share: how often an event without an answer is posted again, AFTER the last time (1s), before the call is hung up [after]")
	fmt.Fprintf(&b, "  %-19s%s\n", wordLegEvents, "a word, not a share: which events a leg posts, one of "+legWords())
	return b.String()
}
