package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/offhook/offhook/cmd/internal/apiclient"
	"github.com/offhook/offhook/cmd/internal/local"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/cmd/internal/simulator"
	"github.com/offhook/offhook/deploy/examples"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker/flow"
)

// The demo: enough people for every kind of outcome, few enough to watch.
const (
	demoPeople   = 50
	demoSpeed    = "20"
	demoEvery    = 100 * time.Millisecond // between two calls that are placed
	demoWithin   = 55 * time.Second
	demoCallerID = "15555551212"
)

func (a *app) demoCommand() *cobra.Command {
	var e everything
	c := &cobra.Command{
		Use: "demo", Short: "Call 50 simulated people through the example survey",
		Long: `Start everything in one process and call 50 simulated people through the example
survey. Nothing needs to be installed, nothing is kept, nobody is dialled. It ends
by itself within a minute.`,
	}
	return a.withJSON(a.command(c, func(set *setting.Set) {
		e.bindDemo(a, set)
	}, func(ctx context.Context, _ []string) error {
		program, err := flow.Compile(examples.VisitSurveyName, examples.VisitSurvey)
		if err != nil {
			return err
		}
		dir, remove, err := temporaryData()
		if err != nil {
			return fmt.Errorf("make a directory for the demo: %w", err)
		}
		cfg := e.config(a)
		cfg.Dir, cfg.Listen, cfg.InternalListen = dir, "127.0.0.1:0", "127.0.0.1:0"
		cfg.Account = role.Account{} // the simulated one
		cfg.Flows, cfg.CallerID = []*flow.Program{program}, demoCallerID
		return errors.Join(a.demo(ctx, &e, cfg, program), remove())
	}))
}

// bindDemo binds what a demo can be told; the rest is fixed, so that nothing in
// the environment can make it more than a demo.
func (e *everything) bindDemo(a *app, set *setting.Set) {
	a.catalogue.LogLevel.Default("warn").Bind(set, &e.logs.level)
	a.catalogue.LogFormat.Bind(set, &e.logs.format)
	a.catalogue.Speed.Default(demoSpeed).Bind(set, &e.simulation.speed)
	a.catalogue.Seed.Bind(set, &e.simulation.seed)
	e.limits.bind(a, set)
}

// demo runs the process, and the calls within it.
func (a *app) demo(ctx context.Context, e *everything, cfg local.Config, program *flow.Program) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoWithin,
		messages.Errorf(messages.CodeTimeout, "the demo did not end within %s", demoWithin))
	defer cancel()
	l, err := local.Start(ctx, cfg, e.logs.logger(a))
	if err != nil {
		return err
	}
	processCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	process := make(chan error, 1)
	go func() { process <- l.Run(processCtx) }()
	if !a.json {
		fmt.Fprintf(a.Stdout, "calling %d simulated people through %s, %gx speed, seed %d; nobody is dialled\n\n", demoPeople, program.Name, cfg.Simulator.Speed, cfg.Simulator.Seed)
	}
	calls, err := a.callEverybody(ctx, l.APIURL, program.Name)
	stop()
	if err := errors.Join(err, <-process); err != nil {
		return err
	}
	return a.demoResults(program, newDemoReport(calls, l.Simulator.Report()))
}

// callEverybody places the calls and follows each to its end.
func (a *app) callEverybody(ctx context.Context, apiURL, flowName string) ([]messages.Call, error) {
	client := apiclient.New(apiURL)
	defer client.Close()
	calls := make([]messages.Call, demoPeople)
	progress := &progress{app: a, total: demoPeople, counts: map[messages.Disposition]int{}}
	group, groupCtx := errgroup.WithContext(ctx)
	tick := time.NewTicker(demoEvery)
	defer tick.Stop()
	for i := range calls {
		group.Go(func() error {
			var placed messages.PlacedCall
			err := insist(groupCtx, func() (err error) {
				placed, err = client.Place(groupCtx, messages.PlaceCall{
					To: fmt.Sprintf("1555867%04d", i), Flow: flowName, Contact: map[string]string{"first_name": firstNames[i%len(firstNames)]},
					Key: fmt.Sprintf("demo-%d", i),
				})
				return err
			})
			if err != nil {
				return err
			}
			if calls[i], err = waitForEnd(groupCtx, client, placed.ID); err != nil {
				return err
			}
			progress.ended(calls[i].Record.Disposition)
			return neverCalled(calls[i], placed.ID)
		})
		select {
		case <-tick.C:
		case <-groupCtx.Done():
		}
	}
	err := group.Wait()
	if err != nil && ctx.Err() != nil { // why, rather than what it stopped
		err = context.Cause(ctx)
		if known := (*messages.Error)(nil); !errors.As(err, &known) {
			err = messages.Errorf(messages.CodeTimeout, "the demo was stopped before it ended: %w", err)
		}
	}
	return calls, err
}

var firstNames = []string{"Ann", "Bo", "Chidi", "Dana", "Emre", "Fay", "Gus", "Hana", "Ines", "Jo"}

// progress prints a line whenever another tenth of the people have been called.
type progress struct {
	app    *app
	total  int
	mu     sync.Mutex
	done   int
	counts map[messages.Disposition]int
}

func (p *progress) ended(d messages.Disposition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done++
	p.counts[d]++
	if p.app.json || p.done%(p.total/10) != 0 {
		return
	}
	fmt.Fprintf(p.app.Stdout, "%3d of %d called: %s\n", p.done, p.total, tally(p.counts))
}

// tally is counts by word, the largest first.
func tally[K ~string](counts map[K]int) string {
	byCount := slices.SortedFunc(maps.Keys(counts), func(a, b K) int {
		return cmp.Or(counts[b]-counts[a], cmp.Compare(a, b))
	})
	each := make([]string, len(byCount))
	for i, word := range byCount {
		each[i] = fmt.Sprintf("%d %s", counts[word], word)
	}
	return strings.Join(each, ", ")
}

// demoReport is what `demo --json` prints.
type demoReport struct {
	Dispositions map[messages.Disposition]int `json:"dispositions"`
	Answers      map[string]map[string]int    `json:"answers"` // by the name they are saved under
	Simulator    simulator.Report             `json:"simulator"`
}

func newDemoReport(calls []messages.Call, sim simulator.Report) demoReport {
	r := demoReport{Dispositions: map[messages.Disposition]int{}, Answers: map[string]map[string]int{}, Simulator: sim}
	for _, c := range calls {
		r.Dispositions[c.Record.Disposition]++
		for _, answer := range c.Record.Answers {
			if r.Answers[answer.Name] == nil {
				r.Answers[answer.Name] = map[string]int{}
			}
			r.Answers[answer.Name][words(answer.Value, answer.Label)]++
		}
	}
	return r
}

// demoResults prints what came of the calls. A wrong answer of ours is a failure of
// the demo.
func (a *app) demoResults(program *flow.Program, r demoReport) error {
	var err error
	if a.json {
		err = a.printJSON(r)
	} else {
		fmt.Fprintf(a.Stdout, "\nwhat came of it: %s\n\n", tally(r.Dispositions))
		t := newTable()
		for _, name := range program.Order {
			if q := program.Steps[name].Question; q != nil && r.Answers[q.Save] != nil {
				t.row(q.Save, tally(r.Answers[q.Save]))
			}
		}
		if err = t.print(a.Stdout); err == nil {
			_, err = fmt.Fprintf(a.Stdout, "\n%s\n", r.Simulator)
		}
	}
	if err == nil && !r.Simulator.Healthy() {
		err = messages.Errorf(messages.CodeInternal, "%d answers were invalid and %d missing; there must be none", r.Simulator.Invalid.Count, r.Simulator.Missed.Count)
	}
	return err
}
