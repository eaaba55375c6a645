// Command offhook runs voice campaigns and call flows on TeleSign's Voice API.
// Everything it can do is in cmd/internal/cli; only its exit code is decided here.
package main

import (
	"context"
	"os"

	"github.com/offhook/offhook/cmd/internal/cli"
)

// version is set by the Makefile at link time.
var version string

func main() {
	os.Exit(cli.Main(context.Background(), cli.Environment{
		Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: version,
	}))
}
