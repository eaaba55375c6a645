package cli_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"go.uber.org/goleak"

	"github.com/offhook/offhook/cmd/internal/cli"
	"github.com/offhook/offhook/cmd/internal/logtest"
)

func TestMain(m *testing.M) {
	testscript.Main(leakChecked{m}, map[string]func(){
		"offhook": func() {
			os.Exit(cli.Main(context.Background(), cli.Environment{
				Args: os.Args[1:], Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr, Version: "v0.0.0-test",
			}))
		},
	})
}

// leakChecked runs the tests and then looks for goroutines that are left.
type leakChecked struct{ m *testing.M }

func (c leakChecked) Run() int {
	code := c.m.Run()
	if err := goleak.Find(); err != nil && code == 0 {
		_, _ = os.Stderr.WriteString("leaked goroutines: " + err.Error() + "\n")
		return 1
	}
	return code
}

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = time.Minute

// program is the command line at work in this process. The Redis client's logger is
// one for the whole process, so tests that start engines must not run in parallel.
type program struct {
	t              *testing.T
	stdout, stderr logtest.Log
	stop           context.CancelFunc
	done           chan int
}

// start starts offhook with nothing but env in its environment.
func start(t *testing.T, env []string, args ...string) *program {
	t.Helper()
	return startWith(t, env, nil, args...)
}

// startWith is start with a stdout of its own.
func startWith(t *testing.T, env []string, stdout io.Writer, args ...string) *program {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 2*patience)
	p := &program{t: t, stop: stop, done: make(chan int, 1)}
	if stdout == nil {
		stdout = &p.stdout
	}
	go func() {
		defer stop()
		p.done <- cli.Main(ctx, cli.Environment{Args: args, Environ: env, Stdin: strings.NewReader(""), Stdout: stdout, Stderr: &p.stderr})
	}()
	t.Cleanup(stop)
	return p
}

// exit waits for the end and wants that exit code.
func (p *program) exit(want int) {
	p.t.Helper()
	if got := <-p.done; got != want {
		p.t.Errorf("exit code %d, want %d\nstdout:\n%s\nstderr:\n%s", got, want, &p.stdout, &p.stderr)
	}
}

// end stops the program as a signal does and wants it to end well.
func (p *program) end() {
	p.t.Helper()
	p.stop()
	p.exit(0)
}

// run runs offhook to its end.
func run(t *testing.T, env []string, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	p := start(t, env, args...)
	p.exit(want)
	return p.stdout.String(), p.stderr.String()
}

// fakeAPI answers every request with the same.
func fakeAPI(t *testing.T, status int, body string) (env []string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(server.Close)
	return []string{"OFFHOOK_API_URL=" + server.URL}
}
