package bench

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
)

// order is what the load generator is told on its stdin, one JSON object for each
// round.
type order struct {
	Host        string        `json:"host"`
	Connections int           `json:"connections"`
	WarmUp      time.Duration `json:"warm_up"`
	Duration    time.Duration `json:"duration"`
	Fixed       bool          `json:"fixed"` // every answer is fixedAnswer
}

// report is what it says on its stdout: one with Began when the warm-up is over, one
// when the round is, or one with an error.
type report struct {
	Began   bool          `json:"began,omitempty"`
	Answers int           `json:"answers,omitempty"`
	Took    time.Duration `json:"took,omitempty"`
	P50     time.Duration `json:"p50,omitempty"`
	P99     time.Duration `json:"p99,omitempty"`
	P999    time.Duration `json:"p999,omitempty"`
	Error   string        `json:"error,omitempty"`
}

// Load is the load generator: it runs the rounds that it is told on in, one after
// the other, until in ends.
func Load(ctx context.Context, in io.Reader, out io.Writer) error {
	orders, reports := json.NewDecoder(in), json.NewEncoder(out)
	for {
		var o order
		if err := orders.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("read an order: %w", err)
		}
		r, err := load(ctx, o, func() error { return reports.Encode(report{Began: true}) })
		if err != nil {
			r = report{Error: err.Error()}
		}
		if err := reports.Encode(r); err != nil {
			return fmt.Errorf("report a round: %w", err)
		}
	}
}

// phase says whether answers count.
type phase = int32

const (
	warming phase = iota
	counting
	over
)

// load runs one round: on each connection one call after the other, each through
// the whole survey, each event posted when the one before it has been answered.
func load(ctx context.Context, o order, began func() error) (report, error) {
	events, err := templates()
	if err != nil {
		return report{}, err
	}
	var now atomic.Int32
	samples := make([][]time.Duration, o.Connections)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	group, ctx := errgroup.WithContext(ctx)
	for i := range samples {
		group.Go(func() error {
			c, err := dialServer(ctx, o.Host)
			if err != nil {
				return err
			}
			defer func() { _ = c.c.Close() }()
			defer context.AfterFunc(ctx, func() { _ = c.c.SetDeadline(time.Unix(1, 0)) })()
			p := &person{connection: c, events: events, fixed: o.Fixed, now: &now, samples: make([]time.Duration, 0, 1<<12)}
			err = p.live(ctx)
			samples[i] = p.samples
			return err
		})
	}
	var took time.Duration
	group.Go(func() error {
		if err := wait(ctx, o.WarmUp); err != nil {
			return err
		}
		if err := began(); err != nil {
			return err
		}
		start := time.Now()
		now.Store(counting)
		err := wait(ctx, o.Duration)
		now.Store(over)
		took = time.Since(start)
		return err
	})
	if err := group.Wait(); err != nil {
		return report{}, err
	}
	all := slices.Concat(samples...)
	if len(all) == 0 {
		return report{}, messages.Errorf(messages.CodeInvalid, "not one event was answered within %s", o.Duration)
	}
	slices.Sort(all)
	return report{Answers: len(all), Took: took, P50: quantile(all, 0.5), P99: quantile(all, 0.99), P999: quantile(all, 0.999)}, nil
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// quantile is exact: the smallest sample that a share q does not exceed. The samples
// are sorted and at least one.
func quantile(sorted []time.Duration, q float64) time.Duration {
	rank := int(q * float64(len(sorted)))
	return sorted[min(rank, len(sorted)-1)]
}

// person lives one call after the other on one connection.
type person struct {
	*connection
	events  []template
	fixed   bool
	now     *atomic.Int32
	samples []time.Duration // of the answers that came while counting
}

// live goes on until the round is over. Every answer is read and checked, also
// while warming up.
func (p *person) live(ctx context.Context) error {
	var event []byte
	var number [len(placeholder) / 2]byte
	referenceID := make([]byte, len(placeholder))
	for {
		_, _ = rand.Read(number[:]) // never fails
		hex.Encode(referenceID, number[:])
		for _, t := range p.events {
			if p.now.Load() == over {
				return nil
			}
			event = t.write(event, referenceID)
			sent := time.Now()
			status, body, err := p.post(event)
			took := time.Since(sent)
			switch {
			case ctx.Err() != nil:
				return context.Cause(ctx)
			case err != nil:
				return messages.Errorf(messages.CodeInvalid, "%s of call %s: %w", t.event, referenceID, err)
			case status != http.StatusOK:
				return messages.Errorf(messages.CodeInvalid, "%s of call %s got HTTP %d: %.200s", t.event, referenceID, status, body)
			}
			if err := p.check(t, body); err != nil {
				return messages.Errorf(messages.CodeInvalid, "%s of call %s: %w", t.event, referenceID, err)
			}
			if p.now.Load() == counting {
				p.samples = append(p.samples, took)
			}
		}
	}
}

// check follows an answer: it must be the action that the call's next event
// completes.
func (p *person) check(t template, body []byte) error {
	var action struct {
		Method telesign.Method `json:"method"`
	}
	if err := json.Unmarshal(body, &action); err != nil {
		return fmt.Errorf("the answer %.200q: %w", body, err)
	}
	want := t.want
	if p.fixed {
		want = telesign.MethodSpeak
	}
	if action.Method != want {
		return fmt.Errorf("the answer is %.200s, want the method %q", body, string(want))
	}
	return nil
}

// generator is the load generator as the bench sees it.
type generator struct {
	process *process
	orders  *json.Encoder
	reports *json.Decoder
}

func newGenerator(p *process) *generator {
	return &generator{p, json.NewEncoder(p.in), json.NewDecoder(p.out)}
}

// run has one round made. began and ended are called at the beginning and at the
// end of the time that counts.
func (g *generator) run(ctx context.Context, o order, began, ended func() error) (report, error) {
	defer context.AfterFunc(ctx, g.process.kill)()
	if err := g.orders.Encode(o); err != nil {
		return report{}, g.lost(ctx, err)
	}
	var r report
	for !r.Began {
		if err := g.next(ctx, &r); err != nil {
			return report{}, err
		}
	}
	if err := began(); err != nil {
		return report{}, err
	}
	r = report{}
	if err := g.next(ctx, &r); err != nil {
		return report{}, err
	}
	return r, ended()
}

func (g *generator) next(ctx context.Context, r *report) error {
	if err := g.reports.Decode(r); err != nil {
		return g.lost(ctx, err)
	}
	if r.Error != "" {
		return messages.Errorf(messages.CodeInvalid, "%s", strings.TrimSpace(r.Error))
	}
	return nil
}

func (g *generator) lost(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return messages.Errorf(messages.CodeUnavailable, "the load generator is gone: %w", err)
}
