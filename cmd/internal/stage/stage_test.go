package stage_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/cmd/internal/stage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

type journal struct {
	mu    sync.Mutex
	lines []string
}

func (j *journal) part(name string, started *sync.WaitGroup) func(context.Context) error {
	started.Add(1)
	return func(ctx context.Context) error {
		started.Done()
		<-ctx.Done()
		j.mu.Lock()
		defer j.mu.Unlock()
		j.lines = append(j.lines, name)
		return nil
	}
}

func TestStagesStopInOrder(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var started sync.WaitGroup
	var j journal
	stages := []stage.Stage{
		stage.New("door", j.part("door", &started)),
		stage.New("work", j.part("work", &started)),
		stage.New("engine", j.part("engine", &started)),
	}
	done := make(chan error)
	go func() { done <- stage.Run(ctx, quiet(), stages...) }()
	started.Wait()
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if want := []string{"door", "work", "engine"}; !slices.Equal(j.lines, want) {
		t.Errorf("stopped %v, want %v", j.lines, want)
	}
}

func TestAFailureStopsTheRest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		err  error
		want string
	}{
		{"an error", errors.New("no port"), "work: no port"},
		{"an early end", nil, "work: ended without being told to"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var started sync.WaitGroup
			var j journal
			err := stage.Run(t.Context(), quiet(),
				stage.New("door", j.part("door", &started)),
				stage.New("work", func(context.Context) error { started.Wait(); return tt.err }))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if len(j.lines) != 1 {
				t.Errorf("the other part was not stopped: %v", j.lines)
			}
		})
	}
}

// However it ends, what stands under a part outlives it, and no error is lost.
func TestErrorsOfAllParts(t *testing.T) {
	t.Parallel()
	var started sync.WaitGroup
	var j journal
	failing := func(name string, err error) func(context.Context) error {
		part := j.part(name, &started)
		return func(ctx context.Context) error { return errors.Join(part(ctx), err) }
	}
	noPort, notFlushed, cause := errors.New("no port"), errors.New("not flushed"), errors.New("killed")
	err := stage.Run(t.Context(), quiet(),
		stage.New("door", failing("door", nil)),
		stage.New("work", func(context.Context) error { started.Wait(); return cause }, failing("work", noPort)),
		stage.New("nothing"),
		stage.New("engine", failing("engine", notFlushed)))
	for _, want := range []error{noPort, notFlushed, cause} {
		if !errors.Is(err, want) {
			t.Errorf("%v is not in %v", want, err)
		}
	}
	if want := "work: killed\nwork: no port\nengine: not flushed"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	if want := []string{"door", "work", "engine"}; !slices.Equal(j.lines, want) {
		t.Errorf("stopped %v, want %v", j.lines, want)
	}
}

// A context that has ended stops what it has just started, in order.
func TestEndedBeforehand(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var started sync.WaitGroup
	var j journal
	if err := stage.Run(ctx, quiet(), stage.New("door", j.part("door", &started)), stage.New("engine", j.part("engine", &started))); err != nil {
		t.Fatal(err)
	}
	if want := []string{"door", "engine"}; !slices.Equal(j.lines, want) {
		t.Errorf("stopped %v, want %v", j.lines, want)
	}
}
