package simulator

import (
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"
)

// chances draws the faults. Each fault of the list has a stream of its own, so
// that a fault more or less changes nothing about the others; within it a draw
// follows from what it is drawn for: a call's index and the number of its event,
// or a number that is dialled and how often it was dialled before. Safe for
// concurrent use.
type chances struct {
	faults  []Fault
	streams []uint64 // one for each fault

	mu    sync.Mutex
	dials map[string]uint64 // requests by number, only with faults of requests
}

func newChances(cfg Config) *chances {
	c := &chances{faults: cfg.Faults, dials: make(map[string]uint64)}
	nth := make(map[FaultKind]int)
	for _, f := range cfg.Faults {
		c.streams = append(c.streams, cfg.Seed^hashed(string(f.Kind)+"#"+strconv.Itoa(nth[f.Kind])))
		nth[f.Kind]++
	}
	return c
}

// hit is one fault that happens.
type hit struct {
	Fault
	after time.Duration  // out of the fault's span
	draw  func() float64 // further chance of the same stream
}

// draw is the faults of some kinds that happen to what key stands for, at a time
// since Run's start.
func (c *chances) draw(key uint64, now func() time.Duration, wanted func(f Fault) bool) []hit {
	var hits []hit
	for i, f := range c.faults {
		if !wanted(f) {
			continue
		}
		if f.During != (Span{}) {
			if at := now(); at < f.During.From || at > f.During.To {
				continue
			}
		}
		chance := rand.New(rand.NewPCG(c.streams[i], scattered(key))) //nolint:gosec // nobody is to be surprised
		if chance.Float64() < f.Share {
			hits = append(hits, hit{Fault: f, after: f.After.draw(chance.Float64()), draw: chance.Float64})
		}
	}
	return hits
}

// request is the faults of one request to dial a number.
func (c *chances) request(to string, now func() time.Duration) []hit {
	about := func(f Fault) bool { return f.Kind.ofRequest() }
	if !c.any(about) {
		return nil
	}
	c.mu.Lock()
	n := c.dials[to]
	c.dials[to]++
	c.mu.Unlock()
	return c.draw(hashed(to)+n, now, about)
}

func (c *chances) any(wanted func(f Fault) bool) bool {
	for _, f := range c.faults {
		if wanted(f) {
			return true
		}
	}
	return false
}

func (k FaultKind) ofRequest() bool {
	switch k {
	case FaultDial429, FaultDial5xx, FaultDial5xxRings, FaultDialTimeout, FaultDialTimeoutRings:
		return true
	default:
		return false
	}
}

func (k FaultKind) ofEvent() bool {
	switch k {
	case FaultDuplicate, FaultSecondURL, FaultDelay, FaultOvertaken, FaultCutAfterAnswer, FaultCutBeforeAnswer:
		return true
	default:
		return false
	}
}

// What a call draws for; see call.key.
const (
	ofOrdinary  = iota // an event, counted without those that follow a hold
	ofAfterHold        // an event that follows a hold
	ofCompleted        // call_completed, the lost one included
	ofCall             // the call as a whole
	ofHold             // a hold that is heard
	ofLeg              // a dial that answers an event
)

// key stands for the nth thing of one sort in a call.
func (c *call) key(of, n int) uint64 {
	return uint64(c.info.Index)<<24 | uint64(of)<<20 | uint64(n) //nolint:gosec // none is negative
}

// hits is the faults of one kind that happen to the nth thing of one sort, counted
// as injected.
func (c *call) hits(of, n int, kind FaultKind) []hit {
	if len(c.sim.chances.faults) == 0 {
		return nil
	}
	hits := c.sim.chances.draw(c.key(of, n), c.sim.since, func(f Fault) bool { return f.Kind == kind })
	c.sim.tallies.injected(hits)
	return hits
}

func hashed(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text)) // never fails
	return h.Sum64()
}

// scattered makes neighbours strangers: the finalizer of SplitMix64.
func scattered(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
