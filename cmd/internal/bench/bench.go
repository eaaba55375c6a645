package bench

import (
	"context"
	"fmt"
	"io"
	"os"
	"runtime"

	"github.com/offhook/offhook/messages"
)

// Run measures everything and ends every process that it started, however it ends.
// An event that is not answered as it must be fails the run with CodeInvalid. What
// is being done goes to progress, one line each.
func Run(ctx context.Context, cfg Config, progress io.Writer) (result Report, err error) {
	if err := cfg.Validate(); err != nil {
		return Report{}, err
	}
	if runtime.GOOS != "linux" {
		return Report{}, messages.Errorf(messages.CodeUsage, "the bench reads CPU times from /proc: run it on Linux")
	}
	dir, err := os.MkdirTemp(cfg.Dir, "offhook-bench-")
	if err != nil {
		return Report{}, fmt.Errorf("make a directory for the engines: %w", err)
	}
	s := &system{cfg: cfg, dir: dir, processes: &processes{}}
	defer func() {
		s.processes.end()
		if removed := os.RemoveAll(dir); err == nil {
			err = removed
		}
		if err != nil && ctx.Err() != nil {
			err = messages.Errorf(messages.CodeUnavailable, "stopped before there was a result: %w", err)
		}
	}()
	result = Report{Machine: thisMachine(), Settings: settingsOf(cfg), MemoryIdle: map[string]int64{}}
	fmt.Fprintln(progress, "starting everything in", dir)
	if err := s.start(ctx); err != nil {
		return Report{}, err
	}
	offhook := s.subjects[len(s.subjects)-1]
	for _, column := range []string{columnIngress, columnWorker} {
		if result.MemoryIdle[column], err = residentBytes(offhook.parts[column].pid()); err != nil {
			return Report{}, err
		}
	}
	rounds := make([][]round, len(s.subjects))
	for i := range cfg.Rounds {
		for k, row := range s.subjects {
			got, err := s.measure(ctx, row)
			if err != nil {
				return Report{}, err
			}
			rounds[k] = append(rounds[k], got)
			fmt.Fprintf(progress, "round %d of %d, %s: %.0f answers/s, p99 %s\n", i+1, cfg.Rounds, row.name, float64(got.Answers)/got.Took.Seconds(), got.P99)
		}
	}
	for k, subject := range s.subjects {
		result.Rows = append(result.Rows, row(subject.name, rounds[k]))
	}
	result.compare()
	if result.FlowStep, err = flowStep(); err != nil {
		return Report{}, err
	}
	if cfg.Calls == 0 {
		return result, nil
	}
	return result, s.cost(ctx, progress, &result)
}
