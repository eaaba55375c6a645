package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/offhook/offhook/messages"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" { // this process is the one that is killed
		os.Exit(appendForEver(dir))
	}
	goleak.VerifyTestMain(m)
}

// patience is how long a test waits for what must happen. It is only ever used up
// by a failure.
const patience = 20 * time.Second

var discard = slog.New(slog.DiscardHandler)

// within is a context that ends with the test, or when it takes too long.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// event is an envelope that is told from others by its id.
func event(id string) messages.Envelope {
	return messages.Envelope{
		Kind: messages.KindEvent, EventID: id, CallID: "call/" + id, Event: "play_completed",
		Arrived: time.UnixMicro(1_700_000_000_000_000).UTC(),
		Body:    []byte(`{"event":"play_completed","reference_id":"` + id + `"}`),
	}
}

func events(n int) []messages.Envelope {
	var envs []messages.Envelope
	for i := range n {
		envs = append(envs, event(fmt.Sprintf("e%04d", i)))
	}
	return envs
}

func ids(envs []messages.Envelope) []string {
	all := []string{}
	for _, env := range envs {
		all = append(all, env.EventID)
	}
	return all
}

func openSpool(t testing.TB, cfg Config) *Spool {
	t.Helper()
	return openOn(t, cfg, osDisk{})
}

func openOn(t testing.TB, cfg Config, d disk) *Spool {
	t.Helper()
	s, err := open(cfg, discard, d)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closeSpool(t, s) })
	return s
}

func closeSpool(t testing.TB, s *Spool) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func mustAppend(t testing.TB, s *Spool, envs ...messages.Envelope) {
	t.Helper()
	if err := s.Append(within(t), envs...); err != nil {
		t.Fatal(err)
	}
}

// drained is everything that is in a spool, which is empty afterwards.
func drained(t testing.TB, s *Spool) []messages.Envelope {
	t.Helper()
	var all []messages.Envelope
	err := s.Drain(within(t), func(_ context.Context, envs []messages.Envelope) error {
		all = append(all, envs...)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if st := s.Stats(); !s.Empty() || st.Events != 0 || !st.Oldest.IsZero() {
		t.Fatalf("after a whole drain the spool says %+v", st)
	}
	return all
}

func wantIDs(t testing.TB, what string, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// files are the names in a directory, without the lock.
func files(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, e := range entries {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}

// record is env as it stands in a segment at an offset.
func record(t testing.TB, s salt, at int64, env messages.Envelope) []byte {
	t.Helper()
	b, err := appendRecord(nil, env)
	if err != nil {
		t.Fatal(err)
	}
	s.seal(b, at)
	return b
}

// segmentBytes is a segment that holds envs, and the offsets at which they end.
func segmentBytes(t testing.TB, s salt, envs ...messages.Envelope) (b []byte, ends []int) {
	t.Helper()
	b = s.header()
	for _, env := range envs {
		b = append(b, record(t, s, int64(len(b)), env)...)
		ends = append(ends, len(b))
	}
	return b, ends
}

func writeFile(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func readFile(t testing.TB, dir, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// fault decides what happens to an operation on a file: nil is nothing, an error is
// its result. n is how many bytes of a write still reach the file.
type fault func(op, name string) (n int, err error)

// faultyDisk is a real disk that fails when told to.
type faultyDisk struct {
	osDisk

	mu    sync.Mutex
	fault fault
	ops   []string
}

func (d *faultyDisk) fail(f fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = f
}

func (d *faultyDisk) ask(op, path string) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	name := filepath.Base(path)
	d.ops = append(d.ops, op+" "+name)
	if d.fault == nil {
		return 0, nil
	}
	return d.fault(op, name)
}

func (d *faultyDisk) open(path string, flag int) (file, error) {
	op := "open"
	if flag&os.O_CREATE != 0 {
		op = "create"
	}
	if _, err := d.ask(op, path); err != nil {
		return nil, err
	}
	f, err := d.osDisk.open(path, flag)
	if err != nil {
		return nil, err
	}
	return &faultyFile{file: f, disk: d, path: path}, nil
}

func (d *faultyDisk) remove(path string) error {
	if _, err := d.ask("remove", path); err != nil {
		return err
	}
	return d.osDisk.remove(path)
}

func (d *faultyDisk) rename(from, to string) error {
	if _, err := d.ask("rename", from); err != nil {
		return err
	}
	return d.osDisk.rename(from, to)
}

func (d *faultyDisk) syncDir(dir string) error {
	if _, err := d.ask("syncdir", dir); err != nil {
		return err
	}
	return d.osDisk.syncDir(dir)
}

type faultyFile struct {
	file
	disk *faultyDisk
	path string
}

func (f *faultyFile) Write(p []byte) (int, error) {
	n, err := f.disk.ask("write", f.path)
	if err == nil {
		return f.file.Write(p)
	}
	n, werr := f.file.Write(p[:min(n, len(p))])
	return n, errors.Join(err, werr)
}

func (f *faultyFile) Sync() error {
	if _, err := f.disk.ask("sync", f.path); err != nil {
		return err
	}
	return f.file.Sync()
}

func (f *faultyFile) Truncate(size int64) error {
	if _, err := f.disk.ask("truncate", f.path); err != nil {
		return err
	}
	return f.file.Truncate(size)
}

func (f *faultyFile) ReadAt(p []byte, at int64) (int, error) {
	if _, err := f.disk.ask("read", f.path); err != nil {
		return 0, err
	}
	return f.file.ReadAt(p, at)
}

// failing fails the operations of one name, or of all of them when it is empty.
func failing(err error, ops ...string) fault {
	return func(op, _ string) (int, error) {
		if slices.Contains(ops, op) {
			return 10, err
		}
		return 0, nil
	}
}

// logged is a log that a test reads.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(io.Writer(l), nil)) }
