// Command offhook runs voice campaigns and call flows on TeleSign's Voice API.
// Everything it can do is in cmd/internal/cli; only its exit code is decided here.
package main

import (
	"context"
	"os"
	"runtime/debug"

	"github.com/offhook/offhook/cmd/internal/cli"
)

// version is set by the Makefile at link time.
var version string

// gcPercent lets the heap grow to five times what lives before it is collected. What
// lives is some megabytes, whatever the load; an event leaves kilobytes behind. Go's
// default of 100 costs a tenth of an event's CPU time. GOGC overrides it.
const gcPercent = 400

func main() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	os.Exit(cli.Main(context.Background(), cli.Environment{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version,
	}))
}
