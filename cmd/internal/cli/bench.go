package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/bench"
	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/messages"
)

func (a *app) benchCommand() *cobra.Command {
	cfg := bench.Defaults()
	c := &cobra.Command{
		Use: "bench", Short: "Measure the call path on this machine",
		Long: `Measure offhook beside a bare HTTP server and beside the naive pipe (HTTP, NATS,
one Redis script, and back), each as processes of its own, in alternating rounds under
the same load. Needs redis-server; starts everything itself, ends it and leaves
nothing behind. Takes about three minutes; the machine should have nothing else to do.`,
	}
	f := c.Flags()
	f.IntVar(&cfg.Rounds, "rounds", cfg.Rounds, "rounds of each row; the result is their median")
	f.DurationVar(&cfg.Duration, "duration", cfg.Duration, "length of a round, after a quarter of it to warm up")
	f.IntVar(&cfg.Connections, "connections", cfg.Connections, "connections, each with one event under way")
	f.IntVar(&cfg.Calls, "calls", cfg.Calls, "calls in Redis, for the cost beside many calls (about 2 KB each); 0 leaves it out")
	f.StringVar((*string)(&cfg.Sync), "sync", string(cfg.Sync), "when NATS and Redis sync to disk: always, as in deploy/, or later")
	f.StringVar(&cfg.Dir, "dir", "", "where the engines keep their files while it runs (default the temporary directory)")
	f.StringVar(&cfg.Profile, "profile", "", "directory for CPU and allocation profiles of every process")
	return a.withJSON(a.command(c, func(*setting.Set) {}, func(ctx context.Context, _ []string) error {
		program, err := os.Executable()
		if err != nil {
			return fmt.Errorf("find this program: %w", err)
		}
		cfg.Program, cfg.Environ = []string{program}, a.Environ
		progress := a.Stderr
		if a.json {
			progress = io.Discard
		}
		report, err := bench.Run(ctx, cfg, progress)
		switch {
		case err != nil:
			return err
		case a.json:
			return a.printJSON(report)
		}
		return report.WriteText(a.Stdout)
	}))
}

// benchPartCommand is how bench starts the processes that only it needs.
func (a *app) benchPartCommand() *cobra.Command {
	c := &cobra.Command{Use: bench.PartCommand, Hidden: true, Args: cobra.ExactArgs(1)}
	c.RunE = func(c *cobra.Command, args []string) error {
		a.ran = true
		var part bench.Part
		if err := json.Unmarshal([]byte(args[0]), &part); err != nil {
			return messages.Errorf(messages.CodeUsage, "a part of the bench is wanted, as JSON: %w", err)
		}
		log := slog.New(slog.NewJSONHandler(a.Stderr, nil))
		return bench.RunPart(c.Context(), part, a.Stdin, a.Stdout, log, func(ctx context.Context, args []string) error {
			inner := a.rootCommand() //nolint:contextcheck // cobra hands ctx to the command that runs
			inner.SetArgs(args)
			return inner.ExecuteContext(ctx)
		})
	}
	return c
}
