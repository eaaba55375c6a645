package webhook

import (
	"fmt"
	"strings"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// nothing is the answer that asks TeleSign for no action.
var nothing = []byte("{}")

// The pauses at the end of hold prompts, in breaks of about a second. With the text
// they make about 2, 5 and 10 s: the longer an outage lasts, the fewer events does
// it cost.
const (
	secondHoldBreaks = 3
	laterHoldBreaks  = 8
)

// prompts are what one group of callers hears, by turn, encoded once.
type prompts [theEnd][]byte

// fallbacks are the answers the door gives by itself.
type fallbacks struct {
	hangup   []byte
	everyone prompts
	by       map[string]prompts // by prefix of the number
	longest  int                // prefix
	rows     *rows
}

func newFallbacks(cfg Config) (*fallbacks, error) {
	hangup, err := telesign.Encode(telesign.Hangup{})
	if err != nil {
		return nil, fmt.Errorf("encode the hangup: %w", err)
	}
	f := &fallbacks{hangup: hangup, by: make(map[string]prompts, len(cfg.Holds)), rows: newRows(cfg.HoldFor)}
	if f.everyone, err = newPrompts(cfg, Hold{Text: cfg.HoldText}); err != nil {
		return nil, err
	}
	for _, h := range cfg.Holds {
		if f.by[h.Prefix], err = newPrompts(cfg, h); err != nil {
			return nil, err
		}
		f.longest = max(f.longest, len(h.Prefix))
	}
	if p, ok := f.by[""]; ok {
		f.everyone = p
	}
	return f, nil
}

func newPrompts(cfg Config, h Hold) (prompts, error) {
	var p prompts
	first := h.hold(cfg)
	second, later := first, first
	second.Message = telesign.WithBreaks(first.Message, secondHoldBreaks)
	later.Message = telesign.WithBreaks(first.Message, laterHoldBreaks)
	for due, says := range map[turn]telesign.Speak{firstHold: first, secondHold: second, laterHold: later, apology: h.apology(cfg)} {
		body, err := telesign.Encode(says)
		if err != nil {
			return p, fmt.Errorf("encode the prompt %q: %w", says.Message, err)
		}
		p[due] = body
	}
	return p, nil
}

// answer is what an event gets when no worker decided: nothing where the answer is
// ignored or the event is not known, hangup for a dial that was not answered, and
// for all others a hold prompt, whose completion is the next event and so buys a
// second window; or the end of a row of them.
func (f *fallbacks) answer(e telesign.Event, now time.Time) (body []byte, told messages.ToldAnswer) {
	switch e.Name {
	case telesign.DialCompleted:
		if e.Status != telesign.StatusAnswered {
			return f.hangup, messages.ToldHangup
		}
		return f.hold(e, now)
	case telesign.IncomingCall, telesign.SpeakCompleted, telesign.PlayCompleted, telesign.CallLegCompleted:
		return f.hold(e, now)
	case telesign.CallCompleted:
	}
	return nothing, messages.ToldNothing
}

func (f *fallbacks) hold(e telesign.Event, now time.Time) (body []byte, told messages.ToldAnswer) {
	switch due := f.rows.next(e.ReferenceID, now); due {
	case theEnd:
		return f.hangup, messages.ToldHangup
	case apology:
		return f.prompts(e)[due], messages.ToldApology
	default:
		return f.prompts(e)[due], messages.ToldHold
	}
}

// prompts are those of the longest prefix of either number, of To when both have
// one of that length.
func (f *fallbacks) prompts(e telesign.Event) prompts {
	to, from := f.prefix(e.To), f.prefix(e.From)
	if len(from) > len(to) {
		to = from
	}
	if to == "" {
		return f.everyone
	}
	return f.by[to]
}

// prefix is the longest one that there are prompts for, "" for none.
func (f *fallbacks) prefix(number string) string {
	number = strings.TrimPrefix(number, "+")
	for n := min(len(number), f.longest); n > 0; n-- {
		if _, ok := f.by[number[:n]]; ok {
			return number[:n]
		}
	}
	return ""
}
