package bench

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"

	"github.com/offhook/offhook/messages"
)

// RunPart runs a part until ctx ends. command runs an offhook command in this
// process, for PartProfiled.
func RunPart(ctx context.Context, p Part, in io.Reader, out io.Writer, log *slog.Logger, command func(ctx context.Context, args []string) error) error {
	switch p.Name {
	case PartLoad:
		return Load(ctx, in, out)
	case PartNATS:
		return NATS(ctx, p.Dir, p.Sync, log)
	case PartBare:
		return Bare(ctx, log)
	case PartNaiveIngress:
		return NaiveIngress(ctx, p.NATS, log)
	case PartNaiveWorker:
		return NaiveWorker(ctx, p.NATS, p.Redis, log)
	case PartProfiled:
		return profiled(p.Dir, func() error { return command(ctx, p.Command) })
	}
	return messages.Errorf(messages.CodeUsage, "the bench has no part %q", p.Name)
}

// profiled runs f and writes cpu.pprof and allocs.pprof into dir.
func profiled(dir string, f func() error) (err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for profiles: %w", err)
	}
	cpu, err := os.Create(filepath.Join(dir, "cpu.pprof"))
	if err != nil {
		return fmt.Errorf("make a CPU profile: %w", err)
	}
	defer func() {
		if closed := cpu.Close(); err == nil {
			err = closed
		}
	}()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return fmt.Errorf("make a CPU profile: %w", err)
	}
	err = f()
	pprof.StopCPUProfile()
	if err != nil {
		return err
	}
	allocs, err := os.Create(filepath.Join(dir, "allocs.pprof"))
	if err != nil {
		return fmt.Errorf("make a profile of allocations: %w", err)
	}
	runtime.GC() // what is in use as of now
	if err := pprof.Lookup("allocs").WriteTo(allocs, 0); err != nil {
		_ = allocs.Close() // the first error says it
		return fmt.Errorf("make a profile of allocations: %w", err)
	}
	return allocs.Close()
}
