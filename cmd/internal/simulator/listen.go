package simulator

import (
	"cmp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/offhook/offhook/messages/telesign"
)

// Lengths of what is pressed by a machine. TeleSign documents the second.
const (
	toneLength  = 250 * time.Millisecond
	pauseLength = 500 * time.Millisecond // of "w"
)

// leastSound is the least that speech, or the attempt to play what cannot be
// played, takes: no call goes round without time going by.
const leastSound = 500 * time.Millisecond

// soundLength is how long an action sounds, before anybody's keys.
func (c Config) soundLength(a telesign.Action) time.Duration {
	switch a := a.(type) {
	case telesign.Speak:
		n := utf8.RuneCountInString(markup.ReplaceAllString(a.Message, ""))
		return max(leastSound, (time.Duration(n)*time.Second/time.Duration(c.SpeechRate)).Truncate(time.Millisecond)+pauses(a.Message))
	case telesign.Play:
		return c.AudioLength
	case telesign.PlayMultiple:
		return time.Duration(len(a.URLs)) * c.AudioLength
	case telesign.SendDTMF:
		pauses := strings.Count(a.Digits, "w")
		return time.Duration(len(a.Digits)-pauses)*toneLength + time.Duration(pauses)*pauseLength
	case telesign.Dial:
		return min(c.LegLength, cmp.Or(a.MaxCallDuration, telesign.MaxCallDuration))
	}
	return 0
}

// collection is what a prompt asks the call to listen for, with the timers that
// really count; nil when it does not ask.
func (a Assumptions) collection(action telesign.Action) *telesign.CollectDigits {
	var asked *telesign.CollectDigits
	switch action := action.(type) {
	case telesign.Speak:
		asked = action.CollectDigits
	case telesign.Play:
		asked = action.CollectDigits
	case telesign.PlayMultiple:
		asked = action.CollectDigits
	}
	if asked == nil {
		return nil
	}
	c := *asked
	c.Timeout = cmp.Or(c.Timeout, a.DigitTimeout)
	c.InterDigitTimeout = cmp.Or(c.InterDigitTimeout, a.InterDigitTimeout)
	return &c
}

// heard is what came of one prompt.
type heard struct {
	digits string
	took   time.Duration // from the prompt's beginning to the end of the listening
	hungUp bool          // by the person, when took was over
}

// listen plays a prompt of a length to a person who reacts, and collects.
//
// The first key may come until Timeout after the prompt's end, each further one
// until InterDigitTimeout after the one before (or after the prompt's end, if that
// is later). The entry ends with the key that makes Max, with a terminator, or
// with a timer; a key at the very moment a timer ends is too late. Where the entry
// ends before a prompt that keys do not stop, the prompt is played to its end.
func (a Assumptions) listen(length time.Duration, c *telesign.CollectDigits, r Reaction) heard {
	presses := r.Presses
	if r.HangsUp {
		presses = slices.DeleteFunc(slices.Clone(presses), func(p Press) bool { return p.At >= r.HangUpAt })
	}
	h := heard{took: length}
	if c != nil {
		h.digits, h.took = a.collect(length, *c, presses)
	}
	if r.HangsUp && r.HangUpAt < h.took {
		h.took, h.hungUp = max(0, r.HangUpAt), true
	}
	return h
}

func (a Assumptions) collect(length time.Duration, c telesign.CollectDigits, presses []Press) (digits string, took time.Duration) {
	presses = slices.SortedStableFunc(slices.Values(presses), func(x, y Press) int { return cmp.Compare(x.At, y.At) })
	silent := length // when the prompt stops sounding
	deadline := silent + c.Timeout
	for _, p := range presses {
		at := max(0, p.At)
		if at >= deadline {
			break
		}
		if a.BargeIn {
			silent = min(silent, at)
		}
		if strings.IndexByte(c.Terminators, p.Key) >= 0 {
			if a.KeepTerminator {
				digits += string(p.Key)
			}
			return digits, max(at, silent)
		}
		digits += string(p.Key)
		if len(digits) == c.Max {
			return digits, max(at, silent)
		}
		deadline = max(at, silent) + c.InterDigitTimeout
	}
	return digits, deadline
}
