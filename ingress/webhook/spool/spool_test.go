package spool

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

func TestWhatIsAppendedIsDrainedInOrderAndOnlyLatenessChanges(t *testing.T) {
	t.Parallel()
	arrived := time.UnixMicro(1_700_000_000_123_456).UTC()
	all := messages.Envelope{
		Kind: messages.KindTold, EventID: "ID1", CallID: "a call/with %41 odd\nid", Event: "speak_completed",
		Arrived: arrived, Deadline: arrived.Add(time.Second), ReplyTo: "_INBOX.x", Sequence: 7,
		Trace: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", State: "vendor=1",
		Body: []byte("{\"a\":\x00\xff}"),
	}
	late := all
	late.Late, late.Deadline, late.ReplyTo = true, time.Time{}, ""
	bare := messages.Envelope{Kind: messages.KindEvent, EventID: "ID2", CallID: "c", Arrived: arrived, Body: []byte{}}
	bareLate := bare
	bareLate.Late = true

	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir})
	mustAppend(t, s, all, bare)
	again := func(what string, s *Spool) {
		t.Helper()
		got := drained(t, s)
		if want := []messages.Envelope{late, bareLate}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
		}
	}
	again("from the process that appended", s)
	if left := files(t, dir); len(left) != 0 {
		t.Errorf("a drained spool leaves %v", left)
	}
	mustAppend(t, s, all, bare)
	closeSpool(t, s)
	again("from the next process", openSpool(t, Config{Dir: dir}))
}

func TestStatsFollowWhatIsAppendedAndDrained(t *testing.T) {
	t.Parallel()
	s := openSpool(t, Config{Dir: t.TempDir(), SegmentBytes: 700, Batch: 2})
	envs := events(7)
	for i := range envs {
		envs[i].Arrived = envs[i].Arrived.Add(time.Duration(i) * time.Second)
	}
	if !s.Empty() || s.Stats() != (Stats{}) {
		t.Fatalf("a new spool says %+v", s.Stats())
	}
	mustAppend(t, s, envs[:3]...)
	for _, env := range envs[3:] {
		mustAppend(t, s, env)
	}
	st := s.Stats()
	if s.Empty() || st.Events != 7 || st.Appended != 7 || st.Drained != 0 || !st.Oldest.Equal(envs[0].Arrived) {
		t.Fatalf("after 7 appends it says %+v", st)
	}
	if on := bytesIn(t, s.cfg.Dir); on != st.Bytes {
		t.Errorf("it says %d bytes, the directory holds %d", st.Bytes, on)
	}
	stop := errors.New("the stream is gone")
	batches := 0
	err := s.Drain(within(t), func(_ context.Context, got []messages.Envelope) error {
		if batches++; batches == 3 {
			return &PartialError{Stored: 1, Err: stop}
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatalf("Drain returned %v", err)
	}
	// Two whole batches and one of the third; batches end with their segment too.
	st = s.Stats()
	if st.Events+int(st.Drained) != 7 || st.Drained == 0 || !st.Oldest.Equal(envs[st.Drained].Arrived) {
		t.Errorf("after a part it says %+v", st)
	}
	rest := drained(t, s)
	wantIDs(t, "the rest", ids(rest), ids(envs[st.Drained:]))
	if st := s.Stats(); st.Bytes != 0 || st.Drained != 7 {
		t.Errorf("in the end it says %+v", st)
	}
}

func bytesIn(t testing.TB, dir string) int64 {
	t.Helper()
	var n int64
	for _, name := range files(t, dir) {
		n += int64(len(readFile(t, dir, name)))
	}
	return n
}

func TestAFullSpoolSaysSoAndTakesEventsAgainOnceDrained(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir, MaxBytes: 4000, SegmentBytes: 1000})
	var kept []string
	var err error
	for _, env := range events(100) {
		if err = s.Append(within(t), env); err != nil {
			break
		}
		kept = append(kept, env.EventID)
	}
	if !errors.Is(err, ErrFull) || messages.CodeOf(err) != messages.CodeUnavailable || !strings.Contains(err.Error(), "--spool-size") || !strings.Contains(err.Error(), dir) {
		t.Fatalf("the append that does not fit: %v", err)
	}
	if on := bytesIn(t, dir); on > 4000 || on < 3000 {
		t.Errorf("%d bytes are on the disk, want nearly 4000", on)
	}
	if n := s.Stats().Events; n != len(kept) {
		t.Errorf("it holds %d events, %d were taken", n, len(kept))
	}
	wantIDs(t, "what it took", ids(drained(t, s)), kept)
	mustAppend(t, s, event("after"))
	wantIDs(t, "after it was full", ids(drained(t, s)), []string{"after"})
}

func TestWhatCannotBeReadBackIsRefused(t *testing.T) {
	t.Parallel()
	s := openSpool(t, Config{Dir: t.TempDir()})
	large := event("large")
	large.Body = make([]byte, maxPayload)
	nobody := event("")
	strange := event("strange")
	strange.Kind = "rumour"
	for _, c := range []struct {
		name string
		envs []messages.Envelope
		want messages.Code
	}{
		{"no event id", []messages.Envelope{nobody}, messages.CodeInvalid},
		{"an unknown kind", []messages.Envelope{strange}, messages.CodeInvalid},
		{"one good, one bad", []messages.Envelope{event("good"), nobody}, messages.CodeInvalid},
		{"larger than a message may be", []messages.Envelope{large}, messages.CodeTooLarge},
	} {
		if err := s.Append(within(t), c.envs...); messages.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want code %s", c.name, err, c.want)
		}
	}
	most := event("most")
	most.Body = make([]byte, maxPayload-1024)
	if err := s.Append(within(t), most, most, most, most, most, most, most, most, most, most, most, most, most, most, most, most, most); messages.CodeOf(err) != messages.CodeTooLarge {
		t.Errorf("17 MiB at once: %v", err)
	}
	if err := s.Append(within(t)); err != nil {
		t.Errorf("nothing: %v", err)
	}
	if !s.Empty() || len(files(t, s.cfg.Dir)) != 0 {
		t.Errorf("something of it was kept: %+v", s.Stats())
	}
	for range maxQueued/maxPayload + 2 { // the room of one is the next one's
		mustAppend(t, s, most)
		wantIDs(t, "the largest", ids(drained(t, s)), []string{"most"})
	}
}

func TestOneProcessPerDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := openSpool(t, Config{Dir: dir})
	_, err := Open(Config{Dir: dir}, discard)
	if messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), "--data (OFFHOOK_DATA)") || !strings.Contains(err.Error(), "in use by another offhook") {
		t.Fatalf("the second one: %v", err)
	}
	closeSpool(t, s)
	openSpool(t, Config{Dir: dir})
}

func TestADirectoryThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	writeFile(t, dir, "file", nil)
	readOnly := &faultyDisk{}
	readOnly.fail(failing(os.ErrPermission, "create"))
	full := &faultyDisk{}
	full.fail(failing(errNoSpace, "create"))
	for _, c := range []struct {
		name string
		cfg  Config
		disk disk
		want string
	}{
		{"below a file", Config{Dir: filepath.Join(dir, "file", "spool")}, osDisk{}, "--data (OFFHOOK_DATA): cannot make the spool's directory"},
		{"not writable", Config{Dir: filepath.Join(dir, "ro")}, readOnly, "cannot be written: permission denied"},
		{"none", Config{}, osDisk{}, "Dir: is empty"},
		{"no room", Config{Dir: dir, MaxBytes: -1}, osDisk{}, "MaxBytes: is -1"},
		{"no segment", Config{Dir: dir, SegmentBytes: -1}, osDisk{}, "SegmentBytes: is -1"},
		{"no batch", Config{Dir: dir, Batch: -1}, osDisk{}, "Batch: is -1"},
	} {
		s, err := open(c.cfg, discard, c.disk)
		if err == nil {
			closeSpool(t, s)
		}
		if messages.CodeOf(err) != messages.CodeUsage || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
	openSpool(t, Config{Dir: filepath.Join(dir, "ro")}) // the failed Open has let go of it
	openOn(t, Config{Dir: filepath.Join(dir, "full")}, full)
}

func TestANewDirectoryIsDurableAndTheOwnersAlone(t *testing.T) {
	t.Parallel()
	old, d := t.TempDir(), &faultyDisk{}
	dir := filepath.Join(old, "new", "spool")
	s := openOn(t, Config{Dir: dir}, d)
	if want := []string{"syncdir new", "syncdir " + filepath.Base(old)}; !slices.Equal(d.ops[:2], want) {
		t.Errorf("a new directory begins with %v, want %v", d.ops[:2], want)
	}
	mustAppend(t, s, event("a"))
	for name, want := range map[string]os.FileMode{"..": 0o700, ".": 0o700, lockName: 0o600, segmentName(1): 0o600} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s is %o, want %o", name, got, want)
		}
	}
}

func TestDefaultsSurviveAndNothingGivenIsOverwritten(t *testing.T) {
	t.Parallel()
	if got, want := (Config{Dir: "d"}).WithDefaults(), (Config{Dir: "d", MaxBytes: 1 << 30, SegmentBytes: 8 << 20, Batch: 256}); got != want {
		t.Errorf("defaults are %+v, want %+v", got, want)
	}
	given := Config{Dir: "d", MaxBytes: 5, SegmentBytes: 6, Batch: 7}
	if got := given.WithDefaults(); got != given {
		t.Errorf("%+v became %+v", given, got)
	}
	if got := (Config{MaxBytes: 1 << 20}).WithDefaults().SegmentBytes; got != 1<<17 {
		t.Errorf("a spool of 1 MiB has segments of %d", got)
	}
}
