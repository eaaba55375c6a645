package worker_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/flow"
)

// named is the survey under another name and with other words.
func named(t testing.TB, name, words string) *flow.Program {
	t.Helper()
	return compile(t, strings.NewReplacer("name: survey", "name: "+name, "Hello", words).Replace(survey))
}

func TestCatalogUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b, edited := named(t, "a", "Hello"), named(t, "b", "Hello"), named(t, "a", "Good day")
	c := worker.NewCatalog(w.store, "a", discard)
	if c.Incoming() != nil {
		t.Error("an empty catalogue has a flow")
	}
	noError(t, c.Use(within(t), a, b, a)) // the same file twice is no conflict

	refused := []struct {
		programs []*flow.Program
		want     string
	}{
		{[]*flow.Program{a, b, edited}, `flow: two files define a flow named "a"; rename one`},
		{[]*flow.Program{b}, `incoming: no flow named "a" among the files given; there is b`},
		{nil, `incoming: no flow named "a" among the files given; there is none`},
	}
	for _, r := range refused {
		err := c.Use(within(t), r.programs...)
		if err == nil || err.Error() != r.want || messages.CodeOf(err) != messages.CodeUsage {
			t.Errorf("got %v, want %s", err, r.want)
		}
	}
	wantFlows(t, w, map[string]string{"a": a.Hash, "b": b.Hash})
	if c.Incoming() != a {
		t.Error("a refused change changed the incoming flow")
	}

	noError(t, c.Use(within(t), edited))
	wantFlows(t, w, map[string]string{"a": edited.Hash, "b": b.Hash}) // other workers may run b
	if c.Incoming() != edited {
		t.Error("the incoming flow is not the current version")
	}
	for _, p := range []*flow.Program{a, b, edited} { // live calls keep theirs
		if got, err := c.Program(within(t), p.Hash); err != nil || got != p {
			t.Errorf("version %s: %p, %v", p.Hash, got, err)
		}
	}
}

func wantFlows(t *testing.T, w *world, want map[string]string) {
	t.Helper()
	got, err := w.store.Flows(within(t))
	noError(t, err)
	for name, hash := range want {
		if got[name] != hash {
			t.Errorf("the store has %s of flow %s, want %s", got[name], name, hash)
		}
	}
	if len(got) != len(want) {
		t.Errorf("the store has %d flows, want %d", len(got), len(want))
	}
}

// What the store did not take is not used.
func TestCatalogUseWithoutStore(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.openStore(w.redis)
	c := worker.NewCatalog(st, "", discard)
	first := named(t, "a", "Hello")
	noError(t, c.Use(within(t), first))
	noError(t, st.Close())
	if err := c.Use(within(t), named(t, "a", "Good day")); messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "store flow a") {
		t.Errorf("got %v", err)
	}
	if c.Incoming() != first {
		t.Error("the current flow changed")
	}
	if _, err := c.Program(within(t), "0123456789abcdef0123456789abcdef"); messages.CodeOf(err) != messages.CodeUnavailable {
		t.Errorf("got %v", err)
	}
}

func TestCatalogIncoming(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := named(t, "a", "Hello"), named(t, "b", "Hello")
	tests := []struct {
		incoming string
		programs []*flow.Program
		want     *flow.Program
	}{
		{"", nil, nil},
		{"", []*flow.Program{a}, a},
		{"", []*flow.Program{a, b}, nil},
		{"b", []*flow.Program{a, b}, b},
	}
	for _, test := range tests {
		c := worker.NewCatalog(w.store, test.incoming, discard)
		noError(t, c.Use(within(t), test.programs...))
		if got := c.Incoming(); got != test.want {
			t.Errorf("incoming %q of %d flows: got %+v", test.incoming, len(test.programs), got)
		}
	}
}

// A version is read from the store once, and then kept.
func TestCatalogProgram(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := named(t, "a", "Hello")
	noError(t, w.store.PutFlow(within(t), p.Name, p.Hash, p.Source))
	st := w.openStore(w.redis)
	c := worker.NewCatalog(st, "", discard)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if got, err := c.Program(within(t), p.Hash); err != nil || got.Name != "a" || got.Hash != p.Hash {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	all.Wait()
	if c.Incoming() != nil {
		t.Error("a version that was loaded became current")
	}
	noError(t, w.store.PutFlow(within(t), "broken", "broken", []byte("steps: 1")))
	for hash, want := range map[string]messages.Code{"missing": messages.CodeNotFound, "broken": messages.CodeInternal} {
		if _, err := c.Program(within(t), hash); err == nil || messages.CodeOf(err) != want || !strings.Contains(err.Error(), hash) {
			t.Errorf("%s: got %v", hash, err)
		}
	}
	noError(t, st.Close())
	if got, err := c.Program(within(t), p.Hash); err != nil || got.Hash != p.Hash {
		t.Errorf("without the store: %+v, %v", got, err)
	}
}

// The current flows outlive their time in the store; what another worker has made
// current since stays so.
func TestCatalogKeepsFlowsAlive(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var log lockedBuffer
	p := w.start(plan{log: textLog(&log)})
	program := compile(t, survey)
	edited := compile(t, strings.ReplaceAll(survey, "Hello", "Good day"))
	noError(t, w.store.PutFlow(within(t), edited.Name, edited.Hash, edited.Source))

	client := w.redisClient()
	defer func() { _ = client.Close() }()
	key := w.prefix + ":flow:{flows}:" + program.Hash
	noError(t, client.Expire(within(t), key, time.Hour).Err())
	p.catalog.Refresh(within(t))
	if ttl := client.TTL(within(t), key).Val(); ttl < 24*time.Hour {
		t.Errorf("expires in %s", ttl)
	}
	wantFlows(t, w, map[string]string{"survey": edited.Hash})
	if log.String() != "" {
		t.Errorf("log: %s", log.String())
	}

	noError(t, client.Del(within(t), key).Err())
	p.catalog.Refresh(within(t))
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "restart the worker") || !strings.Contains(text, program.Hash) {
		t.Errorf("log: %s", text)
	}
}

func TestCatalogRun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start(plan{})
	client := w.redisClient()
	defer func() { _ = client.Close() }()
	key := w.prefix + ":flow:{flows}:" + compile(t, survey).Hash
	noError(t, client.Expire(within(t), key, time.Hour).Err())
	p.catalog.Every(time.Millisecond)
	stop := w.run(p.catalog.Run)
	eventually(t, "the flow is refreshed", func() bool { return client.TTL(within(t), key).Val() > time.Hour })
	stop()

	ended, cancel := context.WithCancel(context.Background())
	cancel()
	p.catalog.Every(time.Hour)
	noError(t, p.catalog.Run(ended)) // at once, and again
}
