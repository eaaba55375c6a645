package role_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/cmd/internal/role"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/flow"
)

func TestCompileFlows(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good := write(t, dir, "good.yaml", flowFile("good", "Hello."))
	bad := write(t, dir, "bad.yaml", strings.ReplaceAll(flowFile("bad", "Hello."), "next: hangup", "next: hello2"))
	worse := write(t, dir, "worse.yaml", "")
	missing := filepath.Join(dir, "missing.yaml")

	programs, err := role.CompileFlows([]string{good})
	if err != nil || len(programs) != 1 || programs[0].Name != "good" {
		t.Errorf("got %v, %v", programs, err)
	}
	_, err = role.CompileFlows([]string{bad, good, missing, worse})
	if err == nil {
		t.Fatal("wrong files compile")
	}
	for _, want := range []string{bad + ":5:", "missing.yaml: no such file", worse + ":1:1"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
	if _, err := role.CompileFlows([]string{missing}); messages.CodeOf(err) != messages.CodeUsage || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %s, %v", messages.CodeOf(err), err)
	}
	if _, err := role.CompileFlows([]string{bad}); messages.CodeOf(err) != messages.CodeInvalid {
		t.Errorf("a wrong file: %s, %v", messages.CodeOf(err), err)
	}
}

// watched is WatchFlows at work.
type watched struct {
	t       *testing.T
	dir     string
	catalog *worker.Catalog
	store   *store.Store
	memory  *store.Embedded
	log     *logtest.Log
}

// watch watches files of that content; each is named like its flow.
func watch(t *testing.T, flows map[string]string) *watched {
	t.Helper()
	w := &watched{t: t, dir: t.TempDir(), log: &logtest.Log{}}
	w.memory, w.store = openStore(t)
	var files []string
	for name, source := range flows {
		files = append(files, write(t, w.dir, name+".yaml", source))
	}
	programs, err := role.CompileFlows(files)
	if err != nil {
		t.Fatal(err)
	}
	w.catalog = worker.NewCatalog(w.store, "", w.log.Logger())
	if err := w.catalog.Use(within(t), programs...); err != nil {
		t.Fatal(err)
	}
	// A change between the first reading and the watch must not be lost.
	w.write("a", flowFile("a", "Good morning."))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- role.WatchFlows(ctx, files, programs, w.catalog, w.log.Logger()) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("ended with %v", err)
		}
	})
	return w
}

func (w *watched) write(name, source string) { write(w.t, w.dir, name+".yaml", source) }

// current checks which version of a flow new calls get.
func (w *watched) current(name, source string) {
	w.t.Helper()
	hash, err := w.store.FlowHash(within(w.t), name)
	if err != nil {
		w.t.Fatal(err)
	}
	if want := flow.Hash([]byte(source)); hash != want {
		w.t.Errorf("flow %s is at %s, want %s\n%s", name, hash, want, w.log)
	}
}

// loaded waits for a version to be loaded.
func (w *watched) loaded(source string) {
	w.t.Helper()
	w.log.Await(w.t, `msg="flow loaded" flow=.* hash=`+flow.Hash([]byte(source)))
}

func TestWatchFlows(t *testing.T) {
	t.Parallel()
	first, morning, evening := flowFile("a", "Hello."), flowFile("a", "Good morning."), flowFile("a", "Good evening.")
	w := watch(t, map[string]string{"a": first})
	w.loaded(morning)
	w.current("a", morning)

	// Wrong: reported, once, and the version before stays.
	w.write("a", strings.ReplaceAll(evening, "next:", "nxt:"))
	w.log.Await(t, `level=ERROR msg="flows have changed and are wrong; calls go on with the version before" error=".*a\.yaml:5:.*nxt`)
	w.current("a", morning)
	if p := w.catalog.Incoming(); p == nil || p.Hash != flow.Hash([]byte(morning)) {
		t.Errorf("incoming calls get %+v", p)
	}

	// Right again.
	w.write("a", evening)
	w.loaded(evening)
	w.current("a", evening)

	// Saved by another name and moved there, as many editors do.
	night := flowFile("a", "Good night.")
	if err := os.Rename(write(t, w.dir, "a.yaml~", night), filepath.Join(w.dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.loaded(night)

	// Taken away and brought back.
	if err := os.Remove(filepath.Join(w.dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	w.log.Await(t, `level=ERROR msg="flows have changed and are wrong; .*a\.yaml: no such file`)
	w.current("a", night)
	w.write("a", first)
	w.loaded(first)

	// Versions that live calls may be at are there still.
	for _, source := range []string{first, morning, evening, night} {
		if p, err := w.catalog.Program(within(t), flow.Hash([]byte(source))); err != nil || string(p.Source) != source {
			t.Errorf("%v, %v", p, err)
		}
	}
	if n := strings.Count(w.log.String(), "level=ERROR"); n != 2 {
		t.Errorf("%d errors are logged, want 2:\n%s", n, w.log)
	}
}

// Of several files only what has changed is reported, and a change of one waits for
// another that is wrong.
func TestWatchSeveralFlows(t *testing.T) {
	t.Parallel()
	a, b := flowFile("a", "Hello."), flowFile("b", "Hello.")
	w := watch(t, map[string]string{"a": a, "b": b})
	w.loaded(flowFile("a", "Good morning."))

	w.write("b", flowFile("a", "Twice."))
	w.log.Await(t, `level=ERROR .*two files define a flow named \\"a\\"`)
	w.current("b", b)
	evening := flowFile("a", "Good evening.")
	w.write("a", evening)
	w.write("b", b+"# still\n")
	w.loaded(evening)
	w.loaded(b + "# still\n")
	w.current("a", evening)
	if log := w.log.String(); strings.Contains(log, "hash="+flow.Hash([]byte(b))+"\n") {
		t.Errorf("a file that had not changed was reported:\n%s", log)
	}
}

// A change that cannot be stored is tried again until it can.
func TestWatchFlowsWithoutStore(t *testing.T) {
	t.Parallel()
	w := watch(t, map[string]string{"a": flowFile("a", "Hello.")})
	w.loaded(flowFile("a", "Good morning."))
	w.memory.Close()
	w.write("a", flowFile("a", "Good evening."))
	w.log.Await(t, `(?s)flows not stored; trying again.*flows not stored; trying again`)
	if p := w.catalog.Incoming(); p == nil || p.Hash != flow.Hash([]byte(flowFile("a", "Good morning."))) {
		t.Errorf("incoming calls get %+v", p)
	}
}
