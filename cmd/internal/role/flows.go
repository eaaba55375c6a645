package role

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/flow"
)

// CompileFlows reads and compiles flow files, in their order. The error joins what
// is wrong with each of them.
func CompileFlows(files []string) ([]*flow.Program, error) { return compile(readFlows(files)) }

// flowSource is a flow file as it was read.
type flowSource struct {
	file, text string
	err        error // why it could not be
}

func readFlows(files []string) []flowSource {
	sources := make([]flowSource, len(files))
	for i, file := range files {
		text, err := os.ReadFile(file)
		sources[i] = flowSource{file: file, text: string(text), err: err}
	}
	return sources
}

func (s flowSource) equal(other flowSource) bool {
	return s.text == other.text && (s.err == nil) == (other.err == nil)
}

func compile(sources []flowSource) ([]*flow.Program, error) {
	var programs []*flow.Program
	var failures []error
	for _, s := range sources {
		if s.err != nil {
			failures = append(failures, messages.FieldErrorf(messages.CodeUsage, "--flow (OFFHOOK_FLOW)", "cannot read it: %w", s.err))
			continue
		}
		program, err := flow.Compile(s.file, []byte(s.text))
		if err != nil {
			failures = append(failures, messages.Errorf(messages.CodeInvalid, "%w", err))
			continue
		}
		programs = append(programs, program)
	}
	return programs, errors.Join(failures...)
}

// watchEvery is how often the flow files are read. To read a few files costs next to
// nothing, and unlike notifications and time stamps their content survives every
// way of saving one.
const watchEvery = 250 * time.Millisecond

// WatchFlows makes the catalog follow its files until ctx ends; programs are what it
// holds of them, in their order. A change counts once two looks have found it, so
// that half a file is not taken for a whole one. A file that is wrong is reported,
// once, and the versions before it stay. Live calls keep theirs either way.
func WatchFlows(ctx context.Context, files []string, programs []*flow.Program, catalog *worker.Catalog, log *slog.Logger) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := make([]flowSource, len(programs))
	for i, p := range programs {
		seen[i] = flowSource{text: string(p.Source)}
	}
	last := seen
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := readFlows(files)
		settled := slices.EqualFunc(now, last, flowSource.equal)
		last = now
		if !settled || slices.EqualFunc(now, seen, flowSource.equal) {
			continue
		}
		next, err := compile(now)
		if err == nil {
			err = catalog.Use(ctx, next...)
		}
		switch {
		case err != nil && messages.CodeOf(err) == messages.CodeUnavailable:
			log.WarnContext(ctx, "flows not stored; trying again", "error", err)
			continue
		case err != nil:
			log.ErrorContext(ctx, "flows have changed and are wrong; calls go on with the version before", "error", err)
		default:
			for _, p := range next {
				if !slices.ContainsFunc(programs, func(old *flow.Program) bool { return old.Hash == p.Hash }) {
					log.InfoContext(ctx, "flow loaded", "flow", p.Name, "hash", p.Hash)
				}
			}
			programs = next
		}
		seen = now
	}
}
