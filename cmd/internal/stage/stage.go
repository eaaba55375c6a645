package stage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
)

// Stage is one or more long-lived parts that may stop at the same time.
type Stage struct {
	Name string
	Runs []func(ctx context.Context) error
}

// New is a stage of the given parts.
func New(name string, runs ...func(ctx context.Context) error) Stage {
	return Stage{Name: name, Runs: runs}
}

// Run starts all stages and blocks. When ctx ends, or a part returns, the stages
// are stopped one after another, the first given first: each is told to stop, and
// the next is told only when it has. So intake stands first, and what everything
// else needs stands last. The error joins those of all parts; a part that returns
// nil before it was told to stop is an error too.
func Run(ctx context.Context, log *slog.Logger, stages ...Stage) error {
	base := context.WithoutCancel(ctx)
	early := make(chan struct{})
	var once sync.Once
	var mu sync.Mutex
	var failures []error
	type running struct {
		stop context.CancelFunc
		done sync.WaitGroup
	}
	started := make([]*running, len(stages))
	for i, s := range stages {
		stageCtx, stop := context.WithCancel(base)
		started[i] = &running{stop: stop}
		for _, run := range s.Runs {
			started[i].done.Go(func() {
				err := run(stageCtx)
				if err == nil && stageCtx.Err() == nil {
					err = errors.New("ended without being told to")
				}
				if err != nil {
					mu.Lock()
					failures = append(failures, fmt.Errorf("%s: %w", s.Name, err))
					mu.Unlock()
					once.Do(func() { close(early) })
				}
			})
		}
	}
	select {
	case <-ctx.Done():
		log.Info("stopping", "cause", context.Cause(ctx))
	case <-early:
		log.Error("a part of the process failed; stopping the others")
	}
	for i, s := range stages {
		started[i].stop()
		started[i].done.Wait()
		log.Debug("stopped", "part", s.Name)
	}
	mu.Lock()
	defer mu.Unlock()
	return errors.Join(failures...)
}
