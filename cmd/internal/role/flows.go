package role

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/flow"
)

// CompileFlows reads and compiles flow files. The error joins what is wrong with
// each of them.
func CompileFlows(files []string) ([]*flow.Program, error) {
	var programs []*flow.Program
	var failures []error
	for _, file := range files {
		program, err := compileFile(file)
		if err != nil {
			failures = append(failures, err)
			continue
		}
		programs = append(programs, program)
	}
	return programs, errors.Join(failures...)
}

func compileFile(file string) (*flow.Program, error) {
	source, err := os.ReadFile(file)
	if err != nil {
		return nil, messages.FieldErrorf(messages.CodeUsage, "flow", "cannot read it: %w", err)
	}
	program, err := flow.Compile(file, source)
	if err != nil {
		return nil, messages.Errorf(messages.CodeInvalid, "%w", err)
	}
	return program, nil
}

// watchEvery is how often the flow files are looked at. A poll of a few files
// costs nothing, and unlike notifications it survives every way of saving one.
const watchEvery = 500 * time.Millisecond

// WatchFlows makes the catalog follow its files until ctx ends. A file that is
// wrong is reported, and the version before it stays. Live calls keep theirs
// either way.
func WatchFlows(ctx context.Context, files []string, catalog *worker.Catalog, log *slog.Logger) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	seen := stamps(files)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := stamps(files)
		if slices.Equal(now, seen) {
			continue
		}
		programs, err := CompileFlows(files)
		if err == nil {
			err = catalog.Use(ctx, programs...)
		}
		if err != nil && messages.CodeOf(err) == messages.CodeUnavailable {
			log.WarnContext(ctx, "flows not stored; trying again", "error", err)
			continue
		}
		seen = now
		if err != nil {
			log.ErrorContext(ctx, "flows have changed and are wrong; calls go on with the version before", "error", err)
			continue
		}
		for _, p := range programs {
			log.InfoContext(ctx, "flow loaded", "flow", p.Name, "hash", p.Hash)
		}
	}
}

// stamps is what tells one content of the files from the next, as far as the file
// system knows.
func stamps(files []string) []string {
	all := make([]string, len(files))
	for i, file := range files {
		if info, err := os.Stat(file); err == nil {
			all[i] = fmt.Sprint(info.ModTime().UnixNano(), " ", info.Size())
		}
	}
	return all
}
