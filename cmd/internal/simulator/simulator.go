package simulator

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// Simulator is a TeleSign. Its ServeHTTP takes dials, Incoming makes people call,
// Run lives the calls. Safe for concurrent use.
type Simulator struct {
	cfg     Config
	people  People
	log     *slog.Logger
	poster  *poster
	limiter *limiter
	tallies *tallies
	scripts *transcripts
	chances *chances
	holds   holds

	// lines ends when everybody is to hang up; posts when even that takes too long.
	lines, posts           context.Context
	hangUpAll, giveUpPosts context.CancelCauseFunc

	mu      sync.Mutex
	state   state
	calls   int           // accepted so far; the next call's index
	live    int           // accepted and not ended
	idle    chan struct{} // closed while live is 0
	pending []*call       // accepted before Run
	began   time.Time     // of Run
	ended   time.Time
	wg      sync.WaitGroup // the goroutines of calls; grows under mu, and only while running
}

type state int

const (
	waiting  state = iota // for Run; calls are accepted and kept
	running               // calls are lived
	stopping              // no call is accepted
)

var (
	errNotTaking = messages.Errorf(messages.CodeUnavailable, "the simulator is stopping and takes no calls")
	errStopped   = messages.Errorf(messages.CodeUnavailable, "the simulator stopped")
)

// New makes a simulator from a valid Config. It starts nothing: calls that come
// before Run wait for it.
func New(cfg Config, log *slog.Logger) (*Simulator, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	s := &Simulator{
		cfg:     cfg,
		people:  cfg.People,
		log:     log,
		poster:  newPoster(cfg),
		limiter: newLimiter(cfg.RateLimit),
		tallies: newTallies(cfg.Examples),
		scripts: &transcripts{keep: cfg.KeepTranscripts},
		chances: newChances(cfg),
		holds:   newHolds(cfg.HoldTexts),
		idle:    make(chan struct{}),
	}
	close(s.idle)
	if s.people == nil {
		s.people = Random(cfg.Seed, cfg.Mix)
	}
	s.lines, s.hangUpAll = context.WithCancelCause(context.Background())
	s.posts, s.giveUpPosts = context.WithCancelCause(context.Background())
	return s, nil
}

// Run lives the calls until ctx ends. Then it takes no more, hangs up the live
// ones, waits up to Config.Grace for their call_completed to be posted, and
// returns with nothing left running. An error means that some were not. It runs
// once.
func (s *Simulator) Run(ctx context.Context) error {
	s.mu.Lock()
	if s.state != waiting {
		s.mu.Unlock()
		return messages.Errorf(messages.CodeInternal, "simulator: Run was called twice")
	}
	s.state = running
	s.began = time.Now()
	for _, c := range s.pending {
		s.wg.Go(c.live)
	}
	s.pending = nil
	s.mu.Unlock()

	<-ctx.Done()

	s.mu.Lock()
	s.state = stopping
	left := s.live
	s.mu.Unlock()
	s.log.Info("simulator is stopping", "live_calls", left)
	s.hangUpAll(errStopped)
	graceOver := time.AfterFunc(s.cfg.Grace, func() { s.giveUpPosts(errStopped) })
	s.wg.Wait()
	late := !graceOver.Stop()
	s.giveUpPosts(errStopped)
	s.poster.close()

	s.mu.Lock()
	s.ended = time.Now()
	s.mu.Unlock()
	if late {
		return messages.Errorf(messages.CodeTimeout, "simulator: the webhook did not take the end of every call within %s; %d were live", s.cfg.Grace, left)
	}
	return nil
}

// Wait returns when no call is live, at once if there is none, or with ctx's
// error.
func (s *Simulator) Wait(ctx context.Context) error {
	s.mu.Lock()
	idle := s.idle
	s.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for live calls to end: %w", ctx.Err())
	}
}

// Incoming makes somebody at from call the number to. The call's first event is
// incoming_call. Numbers are 1 to 15 digits.
func (s *Simulator) Incoming(from, to string) (referenceID string, err error) {
	for _, n := range []struct{ name, value string }{{"from", from}, {"to", to}} {
		if _, err := telesign.CheckNumber(n.value); err != nil {
			return "", messages.FieldErrorf(messages.CodeInvalid, n.name, "is not a phone number: %w", err)
		}
	}
	c := s.newCall(Inbound, telesign.Dial{To: to, CallerIDNumber: from})
	if err := s.accept(c); err != nil {
		return "", err
	}
	s.start(c)
	return c.referenceID, nil
}

// Report is what has been seen so far.
func (s *Simulator) Report() Report {
	r := Report{Seed: s.cfg.Seed, Speed: s.cfg.Speed, Latency: Latency{Window: milliseconds(s.cfg.AnswerWindow)}}
	s.mu.Lock()
	switch {
	case s.began.IsZero():
	case s.ended.IsZero():
		r.Duration = time.Since(s.began).Seconds()
	default:
		r.Duration = s.ended.Sub(s.began).Seconds()
	}
	s.mu.Unlock()
	s.tallies.report(&r)
	return r
}

// Transcripts is what was said on every call that has ended, by index; nothing
// without Config.KeepTranscripts.
func (s *Simulator) Transcripts() []Transcript { return s.scripts.all() }

// accept gives a call its index and its person and counts it as live. Every
// accepted call must be started.
func (s *Simulator) accept(c *call) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == stopping {
		return errNotTaking
	}
	c.info.Index = s.calls
	s.calls++
	if s.live == 0 {
		s.idle = make(chan struct{})
	}
	s.live++
	s.tallies.callStarted(c.info.Direction)
	return nil
}

// start lives an accepted call, when Run has begun. A call that was accepted just
// before the simulator stopped ends unlived.
func (s *Simulator) start(c *call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.state {
	case waiting:
		s.pending = append(s.pending, c)
	case running:
		s.wg.Go(c.live)
	case stopping:
		c.heardFirst()
		s.releaseLocked(c, EndShutdown)
	}
}

// since is how long ago Run began; 0 before.
func (s *Simulator) since() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.began.IsZero() {
		return 0
	}
	return time.Since(s.began)
}

// release ends the accounts of a call that was accepted.
func (s *Simulator) release(c *call, end End) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.releaseLocked(c, end)
}

func (s *Simulator) releaseLocked(c *call, end End) {
	s.tallies.callEnded(end)
	s.scripts.add(c.transcript(end))
	s.live--
	if s.live == 0 {
		close(s.idle)
	}
}

// newReferenceID is 32 random upper-case hexadecimal digits, as in TeleSign's
// examples.
func newReferenceID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return strings.ToUpper(hex.EncodeToString(b[:]))
}
