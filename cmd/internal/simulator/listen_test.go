package simulator

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages/telesign"
)

const second = time.Second

// at is presses: a key, then seconds after the prompt's beginning.
func at(pairs ...any) []Press {
	var presses []Press
	for i := 0; i < len(pairs); i += 2 {
		seconds, ok := pairs[i+1].(float64)
		if !ok {
			seconds = float64(pairs[i+1].(int))
		}
		presses = append(presses, Press{Key: pairs[i].(string)[0], At: time.Duration(seconds * float64(second))})
	}
	return presses
}

// digitCases: every prompt lasts 4s; the timers that are not named are 5s and 3s.
var digitCases = []struct {
	name    string
	collect *telesign.CollectDigits
	assume  func(a *Assumptions)
	react   Reaction
	digits  string
	took    time.Duration
	hungUp  bool
}{
	{name: "nothing asked", react: Reaction{Presses: at("1", 1)}, digits: "", took: 4 * second},
	{name: "silence", collect: &telesign.CollectDigits{Max: 1, Timeout: 10 * second}, took: 14 * second},
	{name: "silence, timer not named", collect: &telesign.CollectDigits{Max: 1}, took: 9 * second},
	{
		name: "one key after the prompt", collect: &telesign.CollectDigits{Max: 1},
		react: Reaction{Presses: at("7", 6)}, digits: "7", took: 6 * second,
	},
	{
		name: "the first key just in time", collect: &telesign.CollectDigits{Max: 1, Timeout: 2 * second},
		react: Reaction{Presses: at("7", 5.999)}, digits: "7", took: 5999 * time.Millisecond,
	},
	{
		name: "the first key at the last moment is too late", collect: &telesign.CollectDigits{Max: 1, Timeout: 2 * second},
		react: Reaction{Presses: at("7", 6)}, digits: "", took: 6 * second,
	},
	{
		name: "an early key stops the prompt", collect: &telesign.CollectDigits{Max: 1},
		react: Reaction{Presses: at("7", 1)}, digits: "7", took: 1 * second,
	},
	{
		name: "an early key does not stop the prompt", collect: &telesign.CollectDigits{Max: 1},
		assume: func(a *Assumptions) { a.BargeIn = false },
		react:  Reaction{Presses: at("7", 1)}, digits: "7", took: 4 * second,
	},
	{
		name: "max ends the entry, later keys are lost", collect: &telesign.CollectDigits{Max: 2},
		react: Reaction{Presses: at("0", 5, "0", 6, "7", 7)}, digits: "00", took: 6 * second,
	},
	{
		name: "the timer between keys ends the entry", collect: &telesign.CollectDigits{Max: 5, InterDigitTimeout: 2 * second},
		react: Reaction{Presses: at("1", 5, "2", 6.5, "3", 8.5)}, digits: "12", took: 8500 * time.Millisecond,
	},
	{
		name: "timer between keys, not named", collect: &telesign.CollectDigits{Max: 5},
		react: Reaction{Presses: at("1", 5)}, digits: "1", took: 8 * second,
	},
	{
		name: "after an early key that stops the prompt the timer runs from the key", collect: &telesign.CollectDigits{Max: 5},
		react: Reaction{Presses: at("1", 1)}, digits: "1", took: 4 * second,
	},
	{
		name: "after an early key that does not, from the prompt's end", collect: &telesign.CollectDigits{Max: 5},
		assume: func(a *Assumptions) { a.BargeIn = false },
		react:  Reaction{Presses: at("1", 1)}, digits: "1", took: 7 * second,
	},
	{
		name: "terminator", collect: &telesign.CollectDigits{Max: 5, Terminators: "#"},
		react: Reaction{Presses: at("1", 5, "2", 6, "#", 7, "3", 8)}, digits: "12", took: 7 * second,
	},
	{
		name: "one of two terminators", collect: &telesign.CollectDigits{Max: 5, Terminators: "*#"},
		react: Reaction{Presses: at("1", 5, "*", 6)}, digits: "1", took: 6 * second,
	},
	{
		name: "terminator kept", collect: &telesign.CollectDigits{Max: 5, Terminators: "#"},
		assume: func(a *Assumptions) { a.KeepTerminator = true },
		react:  Reaction{Presses: at("1", 5, "#", 6)}, digits: "1#", took: 6 * second,
	},
	{
		name: "terminator alone", collect: &telesign.CollectDigits{Max: 5, Terminators: "#"},
		react: Reaction{Presses: at("#", 5)}, digits: "", took: 5 * second,
	},
	{
		name: "early terminator, prompt plays on", collect: &telesign.CollectDigits{Max: 5, Terminators: "#"},
		assume: func(a *Assumptions) { a.BargeIn = false },
		react:  Reaction{Presses: at("1", 1, "#", 2)}, digits: "1", took: 4 * second,
	},
	{
		name: "a # that ends nothing is a key", collect: &telesign.CollectDigits{Max: 2},
		react: Reaction{Presses: at("#", 5, "5", 6)}, digits: "#5", took: 6 * second,
	},
	{
		name: "keys out of order", collect: &telesign.CollectDigits{Max: 2},
		react: Reaction{Presses: at("2", 6, "1", 5)}, digits: "12", took: 6 * second,
	},
	{
		name: "hung up mid-prompt", collect: &telesign.CollectDigits{Max: 1},
		react: Reaction{HangsUp: true, HangUpAt: 2 * second}, took: 2 * second, hungUp: true,
	},
	{
		name: "hung up mid-entry", collect: &telesign.CollectDigits{Max: 3},
		react: Reaction{Presses: at("1", 5, "2", 6, "3", 6.5), HangsUp: true, HangUpAt: 6250 * time.Millisecond}, digits: "12", took: 6250 * time.Millisecond, hungUp: true,
	},
	{
		name: "hung up after the entry does not happen", collect: &telesign.CollectDigits{Max: 1},
		react: Reaction{Presses: at("1", 5), HangsUp: true, HangUpAt: 6 * second}, digits: "1", took: 5 * second,
	},
	{name: "hung up in a prompt that collects nothing", react: Reaction{HangsUp: true, HangUpAt: 3 * second}, took: 3 * second, hungUp: true},
}

func TestListen(t *testing.T) {
	t.Parallel()
	for _, tt := range digitCases {
		a := Defaults().Assume
		if tt.assume != nil {
			tt.assume(&a)
		}
		collect := a.collection(telesign.Play{CollectDigits: tt.collect})
		got := a.listen(4*second, collect, tt.react)
		if want := (heard{tt.digits, tt.took, tt.hungUp}); got != want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, want)
		}
	}
}

// The same cases through a whole call: the digits in the event, and how long the
// call took by its own clock and, at the speed given, in real time.
func TestDigitsOfACall(t *testing.T) {
	t.Parallel()
	for _, tt := range digitCases {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := config()
			cfg.AudioLength = 4 * second
			cfg.Speed = 4
			if tt.assume != nil {
				tt.assume(&cfg.Assume)
			}
			cfg.People = func(CallInfo) Person { return fixed{react: tt.react} }
			answer, err := telesign.Encode(telesign.Play{URL: "https://audio.example.com/a.wav", CollectDigits: tt.collect})
			if err != nil {
				t.Fatal(err)
			}
			var asked, completed time.Time
			l := live(t, cfg, webhook(func(e telesign.Event) string {
				if e.Name == telesign.DialCompleted {
					asked = time.Now()
					return string(answer)
				}
				if completed.IsZero() { // play_completed, or call_completed when the person hung up
					completed = time.Now()
				}
				return hangup
			}), nil)
			if took := completed.Sub(asked); took != tt.took/4 {
				t.Errorf("the prompt took %s of real time, want %s", took, tt.took/4)
			}
			if took := l.Exchanges[1].At - l.Exchanges[0].At; took != tt.took {
				t.Errorf("the prompt took %s by the call's clock, want %s", took, tt.took)
			}
			if tt.hungUp {
				if l.End != EndPerson || l.Exchanges[1].Name != telesign.CallCompleted {
					t.Errorf("the call ended with %s after %v, want person_hung_up and no completion", l.End, l.names())
				}
				return
			}
			if e := l.event(t, 1); e.Name != telesign.PlayCompleted || e.Digits != tt.digits || e.Status != telesign.StatusPlaySuccessful {
				t.Errorf("the prompt ended in %s with %q, %s, want play_completed with %q", e.Name, e.Digits, e.Status, tt.digits)
			}
		})
	}
}

// Whatever is pressed and asked: the entry is made of keys that were pressed, in
// order, is no longer than max, holds no terminator, and ends no later than the
// timers allow.
func TestListenProperties(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	chance := rand.New(rand.NewPCG(seed, 0))
	upTo := func(n int64) time.Duration { return time.Duration(chance.Int64N(n)) * time.Millisecond }
	for i := range 20_000 {
		a := Defaults().Assume
		a.BargeIn = chance.IntN(2) == 0
		c := telesign.CollectDigits{
			Max: chance.IntN(6), Timeout: 1 + upTo(8000), InterDigitTimeout: 1 + upTo(4000),
			Terminators: []string{"", "#", "*#"}[chance.IntN(3)],
		}
		r := Reaction{HangsUp: chance.IntN(4) == 0, HangUpAt: upTo(20_000) - second}
		var all string
		var last time.Duration
		for range chance.IntN(8) {
			last += upTo(3000)
			key := keypad[chance.IntN(12)]
			r.Presses = append(r.Presses, Press{Key: key, At: last})
			all += string(key)
		}
		length := upTo(6000)
		h := a.listen(length, &c, r)
		wrong := func(what string) {
			t.Helper()
			t.Fatalf("case %d of seed %d: %+v of %s, %+v, barge-in %v: %+v %s", i, seed, c, length, r, a.BargeIn, h, what)
		}
		if !strings.HasPrefix(all, h.digits) {
			wrong("other keys than pressed")
		}
		if c.Max > 0 && len(h.digits) > c.Max {
			wrong("longer than max")
		}
		if c.Terminators != "" && strings.ContainsAny(h.digits, c.Terminators) {
			wrong("holds a terminator")
		}
		if limit := max(length, last) + max(c.Timeout, c.InterDigitTimeout); h.took < 0 || h.took > limit {
			wrong("ends after " + limit.String())
		}
		if !a.BargeIn && !h.hungUp && h.took < length {
			wrong("stopped the prompt")
		}
		if h.hungUp && (!r.HangsUp || h.took != max(0, r.HangUpAt)) {
			wrong("hung up at another time")
		}
	}
}

func TestSoundLength(t *testing.T) {
	t.Parallel()
	cfg := Defaults()
	for _, tt := range []struct {
		action telesign.Action
		want   time.Duration
	}{
		{telesign.Speak{Message: strings.Repeat("a", 30)}, 2 * second},
		{telesign.Speak{Message: strings.Repeat("é", 30)}, 2 * second},
		{telesign.Speak{Message: "Hi"}, leastSound},
		{telesign.Speak{Message: "<speak>" + strings.Repeat("a", 15) + `<break strength="weak"/></speak>`}, second},
		{telesign.Speak{Message: "<speak>" + strings.Repeat("a", 15) + `<break strength="strong"/><break strength="strong" />Hi</speak>`}, 3*second + 133*time.Millisecond},
		{telesign.Speak{Message: `<speak><break strength="strong"></break></speak>`}, second},
		{telesign.Play{URL: "https://a.example/1.wav"}, 5 * second},
		{telesign.PlayMultiple{URLs: []string{"https://a.example/1.wav", "https://a.example/2.wav"}}, 10 * second},
		{telesign.SendDTMF{Digits: "12w#"}, 1250 * time.Millisecond},
		{telesign.Dial{To: "1"}, 20 * second},
		{telesign.Dial{To: "1", MaxCallDuration: 7 * second}, 7 * second},
		{telesign.Hangup{}, 0},
	} {
		if got := cfg.soundLength(tt.action); got != tt.want {
			t.Errorf("%+v sounds for %s, want %s", tt.action, got, tt.want)
		}
	}
}
