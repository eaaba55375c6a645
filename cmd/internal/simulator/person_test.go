package simulator

import (
	"math/rand/v2"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
)

func TestScripted(t *testing.T) {
	t.Parallel()
	one := &telesign.CollectDigits{Max: 1}
	listening := func(n int) Prompt { return Prompt{Number: n, Length: 4 * second, Collect: one} }
	p := Scripted(Script{Replies: []string{"12", "", "#"}, HangUpIn: 4})(CallInfo{})
	if got := p.PickUp(); got != (Pickup{Answered, scriptedRing}) {
		t.Errorf("picks up with %+v", got)
	}
	for i, want := range []Reaction{
		{Presses: at("1", 4.25, "2", 4.5)},
		{},
		{}, // a prompt that does not listen uses up no reply
		{Presses: at("#", 4.25), HangsUp: true, HangUpAt: 2 * second},
		{},
	} {
		prompt := listening(i + 1)
		if i == 2 {
			prompt.Collect = nil
		}
		if diff := cmp.Diff(want, p.Hear(prompt)); diff != "" {
			t.Errorf("prompt %d (-want +got):\n%s", i+1, diff)
		}
	}
	p = Scripted(Script{Outcome: Busy, Ring: second, Early: true, Replies: []string{"5"}})(CallInfo{})
	if got := p.PickUp(); got != (Pickup{Busy, second}) {
		t.Errorf("picks up with %+v", got)
	}
	if diff := cmp.Diff(Reaction{Presses: at("5", 0.25)}, p.Hear(listening(1))); diff != "" {
		t.Errorf("early (-want +got):\n%s", diff)
	}
	for _, s := range []Script{{Replies: []string{"1", "x"}}, {Ring: -1}, {HangUpIn: -1}} {
		if s.Validate() == nil {
			t.Errorf("%+v is valid", s)
		}
	}
	if err := (Script{Replies: []string{"", "0*#D"}, HangUpIn: 2}).Validate(); err != nil {
		t.Error(err)
	}
}

func TestKeysNamed(t *testing.T) {
	t.Parallel()
	for message, want := range map[string]string{
		"Press 1 to begin, 9 for no more calls.":   "19",
		"From 1, very bad, to 5, very good? 1 2":   "152",
		"Call 18005550100 now.":                    "",
		`<speak>Press 3<break time="1s"/></speak>`: "3",
		"Hello.": "",
	} {
		if got := keysNamed(telesign.Speak{Message: message}); got != want {
			t.Errorf("%q names %q, want %q", message, got, want)
		}
	}
	if got := keysNamed(telesign.Play{URL: "https://audio.example.com/1.wav"}); got != "" {
		t.Errorf("audio names %q", got)
	}
}

// A large crowd keeps to its mix.
func TestRandomKeepsToItsMix(t *testing.T) {
	t.Parallel()
	const crowd = 10_000
	mix := DefaultMix()
	people := Random(7, mix)
	prompt := Prompt{
		Number: 1, Length: 6 * second, Collect: &telesign.CollectDigits{Max: 1, Timeout: 5 * second, InterDigitTimeout: 3 * second},
		Action: telesign.Speak{Message: "Press 1 to begin, 9 for no more calls."},
	}
	counts := make(map[string]float64)
	for i := range crowd {
		p := people(CallInfo{Index: i})
		pick := p.PickUp()
		counts[string(pick.Outcome)]++
		if pick.Ring < mix.RingMin || pick.Ring > mix.RingMax {
			t.Fatalf("call %d rings for %s, want %s to %s", i, pick.Ring, mix.RingMin, mix.RingMax)
		}
		if r := p.Hear(Prompt{Length: second}); !reflect.DeepEqual(r, Reaction{}) {
			t.Fatalf("call %d reacts to a prompt that does not listen: %+v", i, r)
		}
		switch r := p.Hear(prompt); {
		case r.HangsUp:
			counts["hang up"]++
			if r.HangUpAt <= 0 || r.HangUpAt >= prompt.Length {
				t.Fatalf("call %d hangs up after %s of %s", i, r.HangUpAt, prompt.Length)
			}
		case len(r.Presses) == 0:
			counts["silence"]++
		case len(r.Presses) > 1:
			t.Fatalf("call %d presses %d keys where one was asked for", i, len(r.Presses))
		case r.Presses[0].Key == '1':
			counts["right"]++
		case strings.IndexByte("67890*#", r.Presses[0].Key) < 0 || r.Presses[0].Key == '9':
			t.Fatalf("call %d presses %c as a wrong key", i, r.Presses[0].Key)
		default:
			counts["wrong"]++
		}
	}
	for what, want := range map[string]float64{
		"answered": 0.8, "no_answer": 0.12, "busy": 0.06, "failed": 0.02,
		"hang up": 0.05, "silence": 0.1, "wrong": 0.05, "right": 0.8,
	} {
		if got := counts[what] / crowd; got < want-0.01 || got > want+0.01 {
			t.Errorf("%s: a share of %.3f, want %.3f", what, got, want)
		}
	}
}

// Entries of several keys fit what was asked and are never cut by a timer.
func TestRandomEntriesFit(t *testing.T) {
	t.Parallel()
	mix := DefaultMix()
	mix.Silence, mix.WrongKey, mix.HangUp = 0, 0, 0
	people := Random(7, mix)
	a := Defaults().Assume
	for i := range 2000 {
		c := telesign.CollectDigits{Max: 1 + i%12, Terminators: []string{"", "#"}[i%2], Timeout: second, InterDigitTimeout: second / 2}
		r := people(CallInfo{Index: i}).Hear(Prompt{Length: 3 * second, Collect: &c, Action: telesign.Play{}})
		h := a.listen(3*second, &c, r)
		var pressed string
		for _, p := range r.Presses {
			pressed += string(p.Key)
		}
		if want := strings.TrimSuffix(pressed, "#"); h.digits != want || want == "" || strings.Trim(want, mix.Keys) != "" {
			t.Fatalf("call %d, max %d: pressed %q, heard %q", i, c.Max, pressed, h.digits)
		}
	}
}

// A person follows from seed and index, in whatever order calls come.
func TestSameIndexSamePerson(t *testing.T) {
	t.Parallel()
	first, again, other := Random(9, DefaultMix()), Random(9, DefaultMix()), Random(10, DefaultMix())
	var pickups [100]Pickup
	for i := range pickups {
		pickups[i] = first(CallInfo{Index: i}).PickUp()
	}
	different := 0
	for i := len(pickups) - 1; i >= 0; i-- {
		call := CallInfo{Index: i, To: strconv.Itoa(i)}
		if got := again(call).PickUp(); got != pickups[i] {
			t.Errorf("call %d: %+v, then %+v", i, pickups[i], got)
		}
		if other(call).PickUp() != pickups[i] {
			different++
		}
	}
	if different < 90 {
		t.Errorf("only %d of 100 differ with another seed", different)
	}
}

// The same seed gives the same dialogues, though answers take other times and
// calls overlap otherwise; another seed gives others.
func TestSameSeedSameDialogues(t *testing.T) {
	t.Parallel()
	first := dialogues(t, 42, rand.New(rand.NewPCG(1, 1)))
	if diff := cmp.Diff(first, dialogues(t, 42, rand.New(rand.NewPCG(2, 2)))); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	if cmp.Equal(first, dialogues(t, 43, rand.New(rand.NewPCG(1, 1)))) {
		t.Error("another seed gave the same dialogues")
	}
}

// dialogues is what 100 calls come to, each as one line.
func dialogues(t *testing.T, seed uint64, chance *rand.Rand) []string {
	t.Helper()
	var lines []string
	synctest.Test(t, func(t *testing.T) {
		cfg := config()
		cfg.Seed = seed
		var mu sync.Mutex
		asked := make(map[string]int)
		dialogue := webhook(func(e telesign.Event) string {
			mu.Lock()
			defer mu.Unlock()
			asked[e.ReferenceID]++
			if e.Name == telesign.DialCompleted && e.Status != telesign.StatusAnswered || asked[e.ReferenceID] > 4 {
				return hangup
			}
			return collect
		})
		cfg.Transport = inProcess{delayed{&mu, chance, dialogue}}
		s := newSimulator(t, cfg)
		stop := start(t, s)
		for range 100 {
			post(s, dialBody)
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		if r := s.Report(); !r.Healthy() {
			t.Errorf("not healthy:\n%s", r)
		}
		for _, x := range s.Transcripts() {
			line := strconv.Itoa(x.Index)
			for i := range x.Exchanges {
				e := lived{Transcript: x}.event(t, i)
				line += " " + string(e.Name) + "," + e.Status + "," + e.Digits
			}
			lines = append(lines, line+" "+string(x.End))
		}
	})
	return lines
}

// delayed answers after a random while.
type delayed struct {
	mu     *sync.Mutex // guards chance
	chance *rand.Rand
	http.Handler
}

func (d delayed) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	after := time.Duration(d.chance.Int64N(int64(2 * second)))
	d.mu.Unlock()
	<-time.After(after)
	d.Handler.ServeHTTP(w, r)
}
