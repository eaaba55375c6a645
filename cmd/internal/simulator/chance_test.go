package simulator

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages/telesign"
)

// A fault only happens in its time, counted from Run's start.
func TestFaultDuring(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var a asked
		cfg := inject(t, "dial-429=1:during=10s..15s")
		cfg.Transport = inProcess{a.answering(speakOnce)}
		s := newSimulator(t, cfg)
		stop := start(t, s)
		synctest.Wait()
		var codes []int
		for range 4 {
			codes = append(codes, post(s, dialBody).Code)
			<-time.After(6 * second) // fake
		}
		if want := []int{202, 202, 429, 202}; !slices.Equal(codes, want) {
			t.Errorf("answered %v, want %v", codes, want)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

// The same seed gives the same faults, though answers take other times and calls
// overlap otherwise; another fault changes nothing about those there are; another
// seed gives others.
func TestSameSeedSameFaults(t *testing.T) {
	t.Parallel()
	specs := []string{
		"duplicate=20%:copies=2:after=0s..2s", "delay=20%:after=1s..2s", "overtaken=5%", "lost-completed=20%",
		"slow-ring=20%:after=1s..9s", "hang-up-in-hold=30%", "cut-before-answer=10%", "post-again=1",
	}
	first := faults(t, 42, rand.New(rand.NewPCG(1, 1)), specs)
	if diff := cmp.Diff(first, faults(t, 42, rand.New(rand.NewPCG(2, 2)), specs)); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	if diff := cmp.Diff(first, faults(t, 42, rand.New(rand.NewPCG(1, 1)), append([]string{"cut-after-answer=50%"}, specs...))); diff != "" {
		t.Errorf("with one fault more (-first +second):\n%s", diff)
	}
	if cmp.Equal(first, faults(t, 43, rand.New(rand.NewPCG(1, 1)), specs)) {
		t.Error("another seed gave the same faults")
	}
}

// faults is what 60 calls with faults come to, each as one line.
func faults(t *testing.T, seed uint64, chance *rand.Rand, specs []string) []string {
	t.Helper()
	var lines []string
	synctest.Test(t, func(t *testing.T) {
		cfg := inject(t, specs...)
		cfg.Seed = seed
		cfg.AnswerWindow = time.Minute
		var mu sync.Mutex
		cfg.Transport = inProcess{delayed{&mu, chance, webhook(func(e telesign.Event) string {
			if e.Name == telesign.DialCompleted {
				return holding
			}
			return hangup
		})}}
		s := newSimulator(t, cfg)
		stop := start(t, s)
		for range 60 {
			post(s, dialBody)
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, x := range s.Transcripts() {
			var posts []string
			for _, p := range x.Exchanges {
				posts = append(posts, fmt.Sprintf("%s,%d,%v", p.Name, p.Copy, p.Lost))
			}
			slices.Sort(posts) // copies overlap
			lines = append(lines, fmt.Sprint(x.Index, posts, x.End))
		}
	})
	return lines
}

// A hold that comes between changes nothing about the events after it, nor about
// call_completed.
func TestHoldsShiftNoFaults(t *testing.T) {
	t.Parallel()
	plain, held := posts(t, speak), posts(t, holding, speak)
	apart := 0
	for i := range plain {
		if plain[i][0] != held[i][0] || plain[i][1] != held[i][2] || plain[i][2] != held[i][3] {
			t.Errorf("call %d posted its events %v times, with a hold %v times", i, plain[i], held[i])
		}
		if held[i][1] != held[i][0] || held[i][1] != held[i][2] {
			apart++
		}
	}
	if apart == 0 {
		t.Error("the event that ends a hold has the faults of its neighbours")
	}
}

// posts is how often each event of 40 calls is posted that are answered so, and
// then with hangup.
func posts(t *testing.T, list ...string) [][]int {
	t.Helper()
	var counts [][]int
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		asked := make(map[string]int)
		cfg := inject(t, "duplicate=50%:after=1h")
		cfg.Transport = inProcess{webhook(func(e telesign.Event) string {
			mu.Lock()
			defer mu.Unlock()
			n := asked[e.ReferenceID]
			asked[e.ReferenceID]++
			if n >= len(list) {
				return hangup
			}
			return list[n]
		})}
		s := newSimulator(t, cfg)
		stop := start(t, s)
		for range 40 {
			post(s, dialBody)
		}
		if err := s.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
		for _, x := range s.Transcripts() {
			of := make([]int, len(list)+2)
			for _, p := range x.Exchanges {
				of[p.number]++
			}
			counts = append(counts, of)
		}
	})
	return counts
}

// A share is what it says, call by call and number by number.
func TestShares(t *testing.T) {
	t.Parallel()
	const draws = 8_000
	cfg := inject(t, "dial-5xx=5%", "slow-ring=5%:after=1s..3s", "slow-ring=30%:after=1s")
	s := newSimulator(t, cfg)
	var requests, retried, calls, others, both int
	var longest time.Duration
	for i := range draws {
		number := fmt.Sprintf("1555%07d", i)
		if len(s.chances.request(number, s.since)) > 0 {
			requests++
		}
		if len(s.chances.request("15550000000", s.since)) > 0 {
			retried++
		}
		c := s.newCall(Outbound, telesign.Dial{})
		c.info.Index = i
		hits := c.hits(ofCall, 0, FaultSlowRing)
		both += len(hits) / 2
		for _, h := range hits {
			longest = max(longest, h.after)
			if h.Share == 0.05 {
				calls++
			} else {
				others++
			}
		}
	}
	for name, got := range map[string][2]float64{
		"requests": {float64(requests), 0.05}, "requests to one number": {float64(retried), 0.05},
		"calls": {float64(calls), 0.05}, "calls of another of that kind": {float64(others), 0.3}, "both": {float64(both), 0.015},
	} {
		if share := got[0] / draws; share < got[1]-0.02 || share > got[1]+0.02 {
			t.Errorf("%s: a share of %.3f, want %.3f", name, share, got[1])
		}
	}
	if longest > 3*second || longest < 2800*time.Millisecond {
		t.Errorf("the longest of 1s to 3s is %s", longest)
	}
}
