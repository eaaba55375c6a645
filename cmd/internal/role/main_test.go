package role_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/cmd/internal/logtest"
	"github.com/offhook/offhook/messages/bus/embedded"
	"github.com/offhook/offhook/store"
)

func TestMain(m *testing.M) {
	store.LogClient((&logtest.Log{}).Logger())
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = time.Minute

func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// startNATS is a nats-server with JetStream.
func startNATS(t *testing.T) *embedded.Server {
	t.Helper()
	ns, err := embedded.Start(within(t), embedded.Config{Dir: t.TempDir(), Listen: "127.0.0.1:0"}, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(ns.Close)
	return ns
}

// openStore is an embedded store.
func openStore(t *testing.T) (*store.Embedded, *store.Store) {
	t.Helper()
	memory, err := store.StartEmbedded()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(memory.Close)
	st, err := store.Open(within(t), store.Config{URL: memory.URL(), AllowVolatile: true}, (&logtest.Log{}).Logger())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	return memory, st
}

// flowFile is the source of a flow that says text.
func flowFile(name, text string) string {
	return "name: " + name + "\nlanguage: en-US\nstart: { answered: hello, incoming: hello }\nsteps:\n  hello: { speak: " + text + ", next: hangup }\n"
}

// write writes a file of dir and gives its path.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
