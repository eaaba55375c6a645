package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
)

func wantCall(t testing.TB, s *Store, id string, want Call, log ...string) {
	t.Helper()
	got, err := s.LoadCall(t.Context(), id)
	noError(t, err)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("call %s (-want +got):\n%s", id, diff)
	}
	entries, err := s.LoadLog(t.Context(), id)
	noError(t, err)
	texts := make([]string, 0, len(entries))
	for _, entry := range entries {
		texts = append(texts, string(entry))
	}
	if diff := cmp.Diff(append([]string{}, log...), texts); diff != "" {
		t.Errorf("log of call %s (-want +got):\n%s", id, diff)
	}
	both, whole, err := s.LoadCallAndLog(t.Context(), id)
	noError(t, err)
	if !cmp.Equal(both, got) || !bytes.Equal(bytes.Join(whole, []byte("|")), bytes.Join(entries, []byte("|"))) {
		t.Errorf("call %s with its log in one round trip: %+v, %q", id, both, whole)
	}
}

func entries(texts ...string) [][]byte {
	var log [][]byte
	for _, text := range texts {
		log = append(log, []byte(text))
	}
	return log
}

func TestCommitCall(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		const id = "534e1848-235f-482d-983d-e3e11a04f58a"
		commit := func(want error, c Commit) {
			t.Helper()
			if err := s.CommitCall(t.Context(), id, c); !errors.Is(err, want) {
				t.Fatalf("commit on revision %d: got %v, want %v", c.Expect, err, want)
			}
		}
		wantCall(t, s, id, Call{})

		commit(ErrConflict, Commit{Expect: 1, State: []byte("early")})
		wantCall(t, s, id, Call{})

		commit(nil, Commit{State: []byte("s1"), Outbox: []byte("o1"), Log: entries("a", "b")})
		wantCall(t, s, id, Call{Revision: 1, State: []byte("s1"), Outbox: []byte("o1")}, "a", "b")

		commit(ErrConflict, Commit{State: []byte("again"), Log: entries("x")})
		commit(ErrConflict, Commit{Expect: 2, State: []byte("ahead"), Log: entries("x"), RewriteLog: true})
		wantCall(t, s, id, Call{Revision: 1, State: []byte("s1"), Outbox: []byte("o1")}, "a", "b")

		commit(nil, Commit{Expect: 1, State: []byte("s2")})
		wantCall(t, s, id, Call{Revision: 2, State: []byte("s2"), Outbox: []byte{}}, "a", "b")

		commit(nil, Commit{Expect: 2, State: []byte("s3"), Outbox: []byte("o3"), Log: entries("c")})
		wantCall(t, s, id, Call{Revision: 3, State: []byte("s3"), Outbox: []byte("o3")}, "a", "b", "c")

		commit(nil, Commit{Expect: 3, State: []byte("s4"), Log: entries("b", "a"), RewriteLog: true})
		wantCall(t, s, id, Call{Revision: 4, State: []byte("s4"), Outbox: []byte{}}, "b", "a")

		commit(nil, Commit{Expect: 4, State: []byte("s5"), RewriteLog: true})
		wantCall(t, s, id, Call{Revision: 5, State: []byte("s5"), Outbox: []byte{}})

		other := s.keys.call("another")
		if got := keysOf(t, s); len(got) != 1 || got[0] == other {
			t.Errorf("keys are %q, want the one of the call", got)
		}
	})
}

func TestCommitCallConflictIsTyped(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		err := s.CommitCall(t.Context(), "c", Commit{Expect: 7})
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrUnavailable) || messages.CodeOf(err) != messages.CodeConflict {
			t.Errorf("got code %s: %v", messages.CodeOf(err), err)
		}
	})
}

// What workers store is theirs: any bytes, of any schema, come back as they were.
func TestCallBytesAreOpaque(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		every := make([]byte, 256)
		for i := range every {
			every[i] = byte(i)
		}
		values := map[string][]byte{
			"newer schema":    []byte(`{"schema":99,"invented":{"big":12345678901234567,"a":[]}}`),
			"every byte":      every,
			"empty":           {},
			"integer":         []byte("42"),
			"padded integer":  []byte("-007"),
			"nil in Lua":      []byte("false"),
			"not UTF-8":       {0xff, 0xfe, 0x00, 0x80},
			"larger than any": bytes.Repeat([]byte("0123456789abcdef"), 4096),
		}
		for name, value := range values {
			noError(t, s.CommitCall(t.Context(), name, Commit{State: value, Outbox: value, Log: [][]byte{value, value}}))
			wantCall(t, s, name, Call{Revision: 1, State: value, Outbox: value}, string(value), string(value))
			noError(t, s.CommitCall(t.Context(), name, Commit{Expect: 1, State: value, Outbox: value, Log: [][]byte{value}}))
			wantCall(t, s, name, Call{Revision: 2, State: value, Outbox: value}, string(value), string(value), string(value))
		}
	})
}

// Lua's numbers end at 2^53, revisions do not.
func TestCommitCallLargeRevisions(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		const large = uint64(1)<<63 + 1
		noError(t, s.client.RPush(t.Context(), s.keys.call("c"), strconv.FormatUint(large, 10), "s", "o").Err())
		if err := s.CommitCall(t.Context(), "c", Commit{Expect: large - 1}); !errors.Is(err, ErrConflict) {
			t.Errorf("neighbouring revision: got %v, want ErrConflict", err)
		}
		noError(t, s.CommitCall(t.Context(), "c", Commit{Expect: large, State: []byte("t")}))
		wantCall(t, s, "c", Call{Revision: large + 1, State: []byte("t"), Outbox: []byte{}})
	})
}

func TestCommitCallLongLog(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		var texts []string
		for i := range 1000 { // ten times what the longest call has
			texts = append(texts, "entry "+strconv.Itoa(i))
		}
		noError(t, s.CommitCall(t.Context(), "c", Commit{State: []byte("s"), Log: entries(texts...)}))
		wantCall(t, s, "c", Call{Revision: 1, State: []byte("s"), Outbox: []byte{}}, texts...)
	})
}

// 100 writers add 1 each; every lost race is seen and repeated.
func TestCommitCallSerialises(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		const writers = 100
		add := func() error {
			for {
				call, err := s.LoadCall(t.Context(), "sum")
				if err != nil {
					return err
				}
				var sum uint64
				if call.Revision > 0 {
					sum = binary.BigEndian.Uint64(call.State)
				}
				err = s.CommitCall(t.Context(), "sum", Commit{
					Expect: call.Revision,
					State:  binary.BigEndian.AppendUint64(nil, sum+1),
					Log:    entries(strconv.FormatUint(sum+1, 10)),
				})
				if !errors.Is(err, ErrConflict) {
					return err
				}
			}
		}
		var wg sync.WaitGroup
		for range writers {
			wg.Go(func() {
				if err := add(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		var log []string
		for i := range writers {
			log = append(log, strconv.Itoa(i+1))
		}
		wantCall(t, s, "sum", Call{Revision: writers, State: binary.BigEndian.AppendUint64(nil, writers), Outbox: []byte{}}, log...)
	})
}

func TestCommitCallKeepsCallsApart(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ids := []string{
			"a", "A", "a-b", "a_b", "a b", "{a}", "{", "}", "{}", "", ":", "*", "a\x00", "ä", "~", "\n",
			strings.Repeat("x", 64), strings.Repeat("x", 65), strings.Repeat("x", 5000),
			plain("a b"), // an id cannot pose as another's digest
		}
		for i, id := range ids {
			noError(t, s.CommitCall(t.Context(), id, Commit{State: []byte(fmt.Sprint(i)), Log: entries(id)}))
		}
		for i, id := range ids {
			wantCall(t, s, id, Call{Revision: 1, State: []byte(fmt.Sprint(i)), Outbox: []byte{}}, id)
		}
		for _, key := range keysOf(t, s) {
			if len(key) > 150 || strings.Count(key, "{") != 1 || strings.Count(key, "}") != 1 {
				t.Errorf("key %q: want one hash tag and a bounded length", key)
			}
		}
	})
}

func TestLoadCallRefusesForeignKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		noError(t, s.client.Set(ctx, s.keys.call("string"), "x", time.Hour).Err())
		noError(t, s.client.RPush(ctx, s.keys.call("short"), "1", "s").Err())
		noError(t, s.client.RPush(ctx, s.keys.call("words"), "one", "s", "o").Err())
		for _, id := range []string{"string", "short", "words"} {
			if _, err := s.LoadCall(ctx, id); messages.CodeOf(err) != messages.CodeInternal || errors.Is(err, ErrUnavailable) {
				t.Errorf("load %s: got code %s: %v", id, messages.CodeOf(err), err)
			}
		}
		if err := s.CommitCall(ctx, "string", Commit{}); messages.CodeOf(err) != messages.CodeInternal || errors.Is(err, ErrUnavailable) {
			t.Errorf("commit over a string: got code %s: %v", messages.CodeOf(err), err)
		}
	})
}

func TestCommitCallStartsRetentionAnew(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		key := s.keys.call("c")
		noError(t, s.CommitCall(t.Context(), "c", Commit{State: []byte("s"), Log: entries("a")}))
		wantTTL(t, s, key, s.config.CallRetention)
		noError(t, s.client.PExpire(t.Context(), key, time.Hour).Err())
		if err := s.CommitCall(t.Context(), "c", Commit{Expect: 5}); !errors.Is(err, ErrConflict) {
			t.Fatal(err)
		}
		wantTTL(t, s, key, time.Hour)
		noError(t, s.CommitCall(t.Context(), "c", Commit{Expect: 1, State: []byte("s")}))
		wantTTL(t, s, key, s.config.CallRetention)
	})
}

// The bound: at most 2 KB per live call of the example survey, by Redis'
// own count, which includes its overhead.
func TestCallMemory(t *testing.T) {
	t.Parallel()
	s := openRedis(t)
	// The longest documented form of a reference_id.
	const id = "534e1848-235f-482d-983d-e3e11a04f58a"
	sized := func(n int) []byte { return bytes.Repeat([]byte("x"), n) }
	ctx := t.Context()
	for i := range uint64(6) {
		noError(t, s.CommitCall(ctx, id, Commit{
			Expect: i, State: sized(400 + 20*int(i)), Outbox: sized(250 + 10*int(i)), Log: [][]byte{sized(150)},
		}))
	}
	var total int64
	for _, key := range keysOf(t, s) {
		used, err := s.client.MemoryUsage(ctx, key, 0).Result()
		noError(t, err)
		total += used
	}
	t.Logf("a call of 500 B state, 300 B outbox and 6 log entries of 150 B takes %d B", total)
	if total > 2048 {
		t.Errorf("a live call takes %d B, want at most 2048", total)
	}
}
