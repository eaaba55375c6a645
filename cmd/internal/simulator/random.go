package simulator

import (
	"math/rand/v2"
	"regexp"
	"strings"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

// Mix is how a crowd behaves. Rates are shares from 0 to 1.
type Mix struct {
	// AnswerRate is the share of dials that are answered. Of the others six in ten
	// ring out, three are busy, one fails.
	AnswerRate float64
	// RingMin and RingMax bound how long it rings.
	RingMin, RingMax time.Duration
	// Silence, WrongKey and HangUp are the shares of prompts that collect digits at
	// which a person presses nothing, presses a key that was not asked for, or hangs
	// up mid-prompt. At the rest a key is pressed that was asked for.
	Silence, WrongKey, HangUp float64
	// Keys are what people press. Where a spoken prompt names keys, one of those that
	// are also here is pressed, or else one of those named.
	Keys string
}

// DefaultMix is a crowd that mostly cooperates.
func DefaultMix() Mix {
	return Mix{
		AnswerRate: 0.8,
		RingMin:    2 * time.Second,
		RingMax:    12 * time.Second,
		Silence:    0.1,
		WrongKey:   0.05,
		HangUp:     0.05,
		Keys:       "12345",
	}
}

// Validate names the first field that cannot be played, and its value.
func (m Mix) Validate() error {
	for _, rate := range []struct {
		name  string
		value float64
	}{
		{"Mix.AnswerRate", m.AnswerRate},
		{"Mix.Silence", m.Silence},
		{"Mix.WrongKey", m.WrongKey},
		{"Mix.HangUp", m.HangUp},
		{"Mix.Silence + WrongKey + HangUp", m.Silence + m.WrongKey + m.HangUp},
	} {
		if !(rate.value >= 0 && rate.value <= 1) { // also refuses NaN
			return setting(rate.name, "is %v, want a share from 0 to 1", rate.value)
		}
	}
	if m.RingMin < 0 || m.RingMax < m.RingMin {
		return setting("Mix.RingMin, RingMax", "are %s and %s, want 0 ≤ RingMin ≤ RingMax", m.RingMin, m.RingMax)
	}
	if m.Keys == "" || strings.Trim(m.Keys, keypad) != "" {
		return setting("Mix.Keys", "is %q, want at least one key out of %s", m.Keys, keypad)
	}
	return nil
}

// Random is people drawn from a mix. The person of a call follows from seed and
// the call's index alone, and its keys from the prompts it hears that collect
// digits; others (a hold, a goodbye) draw nothing and so shift nothing.
func Random(seed uint64, m Mix) People {
	return func(call CallInfo) Person {
		return &random{mix: m, chance: rand.New(rand.NewPCG(seed, uint64(call.Index)))} //nolint:gosec // an index is not negative
	}
}

type random struct {
	mix    Mix
	chance *rand.Rand
}

func (r *random) PickUp() Pickup {
	p := Pickup{Outcome: Answered, Ring: r.between(r.mix.RingMin, r.mix.RingMax)}
	if r.chance.Float64() >= r.mix.AnswerRate {
		switch n := r.chance.IntN(10); {
		case n < 6:
			p.Outcome = NoAnswer
		case n < 9:
			p.Outcome = Busy
		default:
			p.Outcome = Failed
		}
	}
	return p
}

func (r *random) Hear(p Prompt) Reaction {
	if p.Collect == nil {
		return Reaction{}
	}
	named := keysNamed(p.Action)
	switch n := r.chance.Float64(); {
	case n < r.mix.Silence:
		return Reaction{}
	case n < r.mix.Silence+r.mix.HangUp:
		return Reaction{HangsUp: true, HangUpAt: r.between(p.Length/10, p.Length*9/10)}
	case n < r.mix.Silence+r.mix.HangUp+r.mix.WrongKey:
		wrong := without("0123456789*#", r.mix.Keys+named+p.Collect.Terminators)
		if wrong == "" {
			return Reaction{}
		}
		return Reaction{Presses: r.press(p, r.pick(wrong))}
	}
	asked := within(r.mix.Keys, named)
	if asked == "" {
		asked = named
	}
	if asked == "" {
		asked = r.mix.Keys
	}
	const most = 5 // keys; a longer entry shows nothing new
	n := 1
	if p.Collect.Max > 1 {
		n += r.chance.IntN(min(p.Collect.Max, most))
	}
	var keys []byte
	for range n {
		keys = append(keys, r.pick(asked)...)
	}
	if n < p.Collect.Max && p.Collect.Terminators != "" {
		keys = append(keys, p.Collect.Terminators[0])
	}
	return Reaction{Presses: r.press(p, string(keys))}
}

// press times keys: three people in ten interrupt the prompt, the others think
// for a moment; nobody is as slow as the timers.
func (r *random) press(p Prompt, keys string) []Press {
	var at time.Duration
	if r.chance.Float64() < 0.3 {
		at = r.between(p.Length/3, p.Length)
	} else {
		at = p.Length + r.between(0, min(3*time.Second, p.Collect.Timeout/2))
	}
	presses := make([]Press, 0, len(keys))
	for _, key := range []byte(keys) {
		presses = append(presses, Press{Key: key, At: at})
		at += r.between(0, min(600*time.Millisecond, p.Collect.InterDigitTimeout/2))
	}
	return presses
}

func (r *random) pick(keys string) string {
	i := r.chance.IntN(len(keys))
	return keys[i : i+1]
}

// between draws from [low, high], in whole milliseconds so that the times in
// events are exact.
func (r *random) between(low, high time.Duration) time.Duration {
	span := int64((high - low) / time.Millisecond)
	if span <= 0 {
		return low.Truncate(time.Millisecond)
	}
	return low.Truncate(time.Millisecond) + time.Duration(r.chance.Int64N(span+1))*time.Millisecond
}

var markup = regexp.MustCompile(`<[^>]*>`)

// keysNamed is the single digits a spoken prompt says, each once. Audio says
// nothing to a program.
func keysNamed(a telesign.Action) string {
	speak, ok := a.(telesign.Speak)
	if !ok {
		return ""
	}
	numbers := strings.FieldsFunc(markup.ReplaceAllString(speak.Message, " "), func(c rune) bool { return c < '0' || c > '9' })
	var keys string
	for _, n := range numbers {
		if len(n) == 1 && !strings.Contains(keys, n) {
			keys += n
		}
	}
	return keys
}

// within is the characters of s that are in set; without those that are not.
func within(s, set string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(set, c) {
			return c
		}
		return -1
	}, s)
}

func without(s, set string) string {
	return strings.Map(func(c rune) rune {
		if strings.ContainsRune(set, c) {
			return -1
		}
		return c
	}, s)
}
