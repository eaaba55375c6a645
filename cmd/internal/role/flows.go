package role

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/flow"
)

// CompileFlows reads and compiles flow files, in their order. The error joins what
// is wrong with each of them.
func CompileFlows(files []string) ([]*flow.Program, error) { return compile(readFiles(files)) }

func compile(sources []fileContent) ([]*flow.Program, error) {
	var programs []*flow.Program
	var failures []error
	for _, s := range sources {
		if s.err != nil {
			failures = append(failures, messages.FieldErrorf(messages.CodeUsage, "--flow (OFFHOOK_FLOW)", "cannot read it: %w", s.err))
			continue
		}
		program, err := flow.Compile(s.path, []byte(s.text))
		if err != nil {
			failures = append(failures, messages.Errorf(messages.CodeInvalid, "%w", err))
			continue
		}
		programs = append(programs, program)
	}
	return programs, errors.Join(failures...)
}

// flowsEvery is how often the flow files are looked at: whoever writes a flow waits
// for it.
const flowsEvery = 250 * time.Millisecond

// WatchFlows makes the catalog follow its files until ctx ends; programs are what it
// holds of them, in their order. A file that is wrong is reported, once, and the
// versions before it stay. Live calls keep theirs either way.
func WatchFlows(ctx context.Context, files []string, programs []*flow.Program, catalog *worker.Catalog, log *slog.Logger) error {
	watch := fileWatch{paths: files, every: flowsEvery}
	for _, p := range programs {
		watch.seen = append(watch.seen, fileContent{text: string(p.Source)})
	}
	return watch.run(ctx, func(now []fileContent) bool {
		next, err := compile(now)
		if err == nil {
			err = catalog.Use(ctx, next...)
		}
		switch {
		case err != nil && messages.CodeOf(err) == messages.CodeUnavailable:
			log.WarnContext(ctx, "flows not stored; trying again", "error", err)
			return false
		case err != nil:
			log.ErrorContext(ctx, "flows have changed and are wrong; calls go on with the version before", "error", err)
			return true
		}
		for _, p := range next {
			if !slices.ContainsFunc(programs, func(old *flow.Program) bool { return old.Hash == p.Hash }) {
				log.InfoContext(ctx, "flow loaded", "flow", p.Name, "hash", p.Hash)
			}
		}
		programs = next
		return true
	})
}
