package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/signal"
	"runtime"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/offhook/offhook/cmd/internal/setting"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store"
)

// Environment is everything the program takes from outside.
type Environment struct {
	Args    []string // without the program's name
	Environ []string // as os.Environ
	Stdin   io.Reader
	Stdout  io.Writer // results
	Stderr  io.Writer // logs and errors
	Version string    // set at build time; may be empty
}

// app is the program: its environment and the catalogue of its settings.
type app struct {
	Environment
	catalogue *setting.Catalogue
	ran       bool // a command's own code was reached
	json      bool // the command was told to print JSON
}

// Main runs the command line and returns the exit code: 0, or that of the error's
// messages.Code. The first SIGINT or SIGTERM ends ctx, and the command drains; a
// second one kills the process.
func Main(ctx context.Context, env Environment) int {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // from now on a signal kills

	a := &app{Environment: env, catalogue: setting.NewCatalogue()}
	root := a.rootCommand() //nolint:contextcheck // cobra hands ctx to the command that runs
	root.SetArgs(env.Args)
	root.SetIn(env.Stdin)
	root.SetOut(env.Stdout)
	root.SetErr(env.Stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	var known *messages.Error
	if !a.ran && !errors.As(err, &known) { // cobra's own complaints are about the command line
		err = &messages.Error{Code: messages.CodeUsage, Message: err.Error(), Err: err}
	}
	a.complain(err)
	return messages.CodeOf(err).ExitCode()
}

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "offhook",
		Short: "Voice campaigns and call flows on TeleSign's Voice API",
		Long: `offhook answers TeleSign's webhooks through NATS and a pool of workers that keep
each call's state in Redis. Every role is a subcommand; start as many as you like.

  offhook demo                     see it work: 50 simulated people, nothing to install
  offhook dev --flow FILE          everything in one process, while you write a flow
  offhook ingress | worker | api   the roles, against your NATS and Redis

Settings are flags or OFFHOOK_… variables; -h of a command lists its own. Traces are
exported if the standard OTEL_… variables say so, over OTLP with http/protobuf.
Exit codes: 0 done, 1 the input or the answer is bad, 2 wrong usage, 3 something
cannot be reached, 4 not found, 5 TeleSign refused, 70 a defect.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error { return a.catalogue.FlagError(c.Flags(), err) })
	root.AddCommand(
		a.demoCommand(), a.devCommand(),
		a.ingressCommand(), a.workerCommand(), a.apiCommand(),
		a.callCommand(), a.flowCommand(), a.simulateCommand(),
		a.benchCommand(), a.benchPartCommand(), a.configCommand(), a.versionCommand(),
	)
	root.InitDefaultCompletionCmd(a.Args...)
	for _, c := range root.Commands() {
		if c.HasSubCommands() {
			asGroup(c)
		}
	}
	return root
}

// asGroup makes a command that only groups others refuse what is none of them; cobra
// by itself would print help and call that success.
func asGroup(c *cobra.Command) {
	c.SuggestionsMinimumDistance = 2
	c.Args = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return nil
		}
		advice := c.CommandPath() + " -h lists them"
		if meant := c.SuggestionsFor(args[0]); len(meant) > 0 {
			advice = "did you mean " + meant[0] + "?"
		}
		return messages.Errorf(messages.CodeUsage, "%s has no command %q: %s", c.CommandPath(), args[0], advice)
	}
	c.RunE = func(c *cobra.Command, _ []string) error { return c.Help() }
}

// command makes a command that has settings: bind registers them, run runs once
// they are resolved.
func (a *app) command(c *cobra.Command, bind func(*setting.Set), run func(ctx context.Context, args []string) error) *cobra.Command {
	set := setting.New(c.Flags(), a.catalogue, a.Environ)
	bind(set)
	if c.Args == nil {
		c.Args = cobra.NoArgs
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		a.ran = true
		if err := set.Resolve(); err != nil {
			return err
		}
		return run(cmd.Context(), args)
	}
	return c
}

// withJSON gives a command the --json flag.
func (a *app) withJSON(c *cobra.Command) *cobra.Command {
	c.Flags().BoolVar(&a.json, "json", false, "print JSON, for programs; errors too")
	return c
}

// printJSON prints v, indented.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.Stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}

// logging are the settings of the log.
type logging struct {
	level, format string
}

func (l *logging) bind(a *app, set *setting.Set) {
	a.catalogue.LogLevel.Bind(set, &l.level)
	a.catalogue.LogFormat.Bind(set, &l.format)
}

// logger logs to stderr: stdout belongs to results. It becomes the logger of the
// Redis client too, so a command makes it once.
func (l *logging) logger(a *app) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.level)); err != nil {
		level = slog.LevelInfo // the setting admits known words only
	}
	options := &slog.HandlerOptions{Level: level}
	var handler slog.Handler = slog.NewTextHandler(a.Stderr, options)
	if l.format == "json" {
		handler = slog.NewJSONHandler(a.Stderr, options)
	}
	log := slog.New(handler)
	store.LogClient(log)
	return log
}

func (a *app) versionCommand() *cobra.Command {
	c := &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs}
	return a.withJSON(a.command(c, func(*setting.Set) {}, func(context.Context, []string) error {
		if a.json {
			return a.printJSON(map[string]string{"version": a.version(), "go": runtime.Version()})
		}
		_, err := fmt.Fprintf(a.Stdout, "offhook %s (%s)\n", a.version(), runtime.Version())
		return err
	}))
}

// version is that of the program; Go's own when none was set at build time.
func (a *app) version() string {
	if info, ok := debug.ReadBuildInfo(); ok && a.Version == "" {
		return info.Main.Version
	}
	return a.Version
}

func (a *app) configCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "config", Short: "Print the effective settings, secrets masked",
		Long: "Print every setting with its value and where it came from: default, env, flag or file. Secrets and passwords are masked.",
	}
	var set *setting.Set
	return a.withJSON(a.command(c, func(s *setting.Set) {
		set = s
		s.BindAll()
	}, func(context.Context, []string) error {
		if a.json {
			return a.printJSON(set.Effective())
		}
		return setting.WriteText(a.Stdout, set.Effective())
	}))
}
