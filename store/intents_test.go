package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
)

// newIntent is as a dial job carries it.
func newIntent(key string) messages.Intent {
	at := time.Date(2026, 11, 22, 9, 30, 0, 123456789, time.UTC)
	return messages.Intent{
		Schema: messages.IntentSchema, ID: messages.IntentID(key), To: "15558675309", CallerID: "15555551212",
		Flow: "visit-survey", FlowHash: "0123456789abcdef0123456789abcdef",
		Contact: map[string]string{"first_name": "Zoë <&>", "account": "12345678901234567"},
		Attempt: 1, CreatedAt: at, NotAfter: time.Now().Add(10 * time.Minute).UTC().Truncate(time.Millisecond),
		Status: messages.CallQueued,
	}
}

// Steps of the transition table; each says what it wants of its own result.
type intentStep func(t *testing.T, s *Store, in messages.Intent)

func create(created bool) intentStep {
	return func(t *testing.T, s *Store, in messages.Intent) {
		t.Helper()
		_, got, err := s.CreateIntent(t.Context(), in)
		noError(t, err)
		if got != created {
			t.Errorf("created %t, want %t", got, created)
		}
	}
}

func begin(begun bool) intentStep {
	return func(t *testing.T, s *Store, in messages.Intent) {
		t.Helper()
		_, got, err := s.BeginTry(t.Context(), in, time.Hour)
		noError(t, err)
		if got != begun {
			t.Errorf("begun %t, want %t", got, begun)
		}
	}
}

func resolve(status messages.CallStatus, httpStatus int, outcome, callID string) intentStep {
	return func(t *testing.T, s *Store, in messages.Intent) {
		t.Helper()
		_, err := s.ResolveTry(t.Context(), in.ID, Resolution{status, httpStatus, outcome, callID})
		noError(t, err)
	}
}

func resolveFails(code messages.Code) intentStep {
	return func(t *testing.T, s *Store, in messages.Intent) {
		t.Helper()
		_, err := s.ResolveTry(t.Context(), in.ID, Resolution{Status: messages.CallAccepted})
		if messages.CodeOf(err) != code {
			t.Errorf("got code %s, want %s: %v", messages.CodeOf(err), code, err)
		}
	}
}

func claim(callID string, claimed bool) intentStep {
	return func(t *testing.T, s *Store, in messages.Intent) {
		t.Helper()
		_, got, err := s.ClaimIntent(t.Context(), in.ID, callID)
		noError(t, err)
		if got != claimed {
			t.Errorf("claimed %t, want %t", got, claimed)
		}
	}
}

func claimConflicts(callID, holder string) intentStep {
	return func(t *testing.T, s *Store, in messages.Intent) {
		t.Helper()
		got, claimed, err := s.ClaimIntent(t.Context(), in.ID, callID)
		if claimed || !errors.Is(err, ErrConflict) || messages.CodeOf(err) != messages.CodeConflict || got.CallID != holder {
			t.Errorf("got call %s, %t, %v; want call %s and ErrConflict", got.CallID, claimed, err, holder)
		}
	}
}

func TestIntentTransitions(t *testing.T) {
	const (
		accepted = messages.CallAccepted
		refused  = messages.CallRefused
		unknown  = messages.CallUnknown
	)
	type want struct {
		Status     messages.CallStatus
		HTTPStatus int
		Outcome    string
		CallID     string
		Tried, Due bool
	}
	tests := []struct {
		name  string
		steps []intentStep
		want  want // Status "": nothing is stored
	}{
		{"created", []intentStep{create(true)}, want{Status: messages.CallQueued}},
		{"created twice", []intentStep{create(true), create(false)}, want{Status: messages.CallQueued}},
		{"created after it began", []intentStep{begin(true), create(false)}, want{Status: messages.CallDialing, Tried: true, Due: true}},

		{"begun", []intentStep{create(true), begin(true)}, want{Status: messages.CallDialing, Tried: true, Due: true}},
		{"begun from the job alone", []intentStep{begin(true)}, want{Status: messages.CallDialing, Tried: true, Due: true}},
		{"job delivered twice", []intentStep{create(true), begin(true), begin(false)}, want{Status: messages.CallDialing, Tried: true, Due: true}},

		{"accepted", []intentStep{begin(true), resolve(accepted, 202, "dial_accepted", "c1")}, want{accepted, 202, "dial_accepted", "c1", true, false}},
		{"refused", []intentStep{begin(true), resolve(refused, 200, "to_number_blocked_by_country", "c1")}, want{refused, 200, "to_number_blocked_by_country", "c1", true, false}},
		{"unknown", []intentStep{begin(true), resolve(unknown, 0, "timeout", "")}, want{unknown, 0, "timeout", "", true, true}},
		{"job again after it was resolved", []intentStep{begin(true), resolve(accepted, 202, "dial_accepted", "c1"), begin(false)}, want{accepted, 202, "dial_accepted", "c1", true, false}},
		{"job again after it was refused", []intentStep{begin(true), resolve(refused, 429, "rate_limit_exceeded", ""), begin(false)}, want{refused, 429, "rate_limit_exceeded", "", true, false}},
		{"job again while it is unknown", []intentStep{begin(true), resolve(unknown, 503, "http_503", ""), begin(false)}, want{unknown, 503, "http_503", "", true, true}},

		{"resolved twice", []intentStep{begin(true), resolve(accepted, 202, "dial_accepted", "c1"), resolve(accepted, 202, "dial_accepted", "c1")}, want{accepted, 202, "dial_accepted", "c1", true, false}},
		{"accepted is final", []intentStep{begin(true), resolve(accepted, 202, "dial_accepted", "c1"), resolve(unknown, 0, "crashed", ""), resolve(refused, 400, "no", "c2")}, want{accepted, 202, "dial_accepted", "c1", true, false}},
		{"refused is final", []intentStep{begin(true), resolve(refused, 400, "no", ""), resolve(unknown, 0, "crashed", ""), resolve(accepted, 202, "dial_accepted", "c1")}, want{refused, 400, "no", "", true, false}},
		{"unknown keeps its first cause", []intentStep{begin(true), resolve(unknown, 502, "http_502", ""), resolve(unknown, 0, "crashed", "")}, want{unknown, 502, "http_502", "", true, true}},
		{"the answer comes after the reaper", []intentStep{begin(true), resolve(unknown, 0, "crashed", ""), resolve(accepted, 202, "dial_accepted", "c1")}, want{accepted, 202, "dial_accepted", "c1", true, false}},
		{"the refusal comes after the reaper", []intentStep{begin(true), resolve(unknown, 0, "crashed", ""), resolve(refused, 400, "no", "")}, want{refused, 400, "no", "", true, false}},

		{"event after the answer", []intentStep{begin(true), resolve(accepted, 202, "dial_accepted", "c1"), claim("c1", true)}, want{accepted, 202, "dial_accepted", "c1", true, false}},
		{"event before the answer", []intentStep{begin(true), claim("c1", true)}, want{accepted, 0, "", "c1", true, false}},
		{"answer after the event", []intentStep{begin(true), claim("c1", true), resolve(accepted, 202, "dial_accepted", "c1")}, want{accepted, 202, "dial_accepted", "c1", true, false}},
		{"no answer after the event", []intentStep{begin(true), claim("c1", true), resolve(unknown, 0, "timeout", "")}, want{accepted, 0, "timeout", "c1", true, false}},
		{"refusal after the event", []intentStep{begin(true), claim("c1", true), resolve(refused, 400, "no", "")}, want{accepted, 400, "no", "c1", true, false}},
		{"answers after the event, the first counts", []intentStep{begin(true), claim("c1", true), resolve(unknown, 0, "timeout", ""), resolve(accepted, 202, "dial_accepted", "c1")}, want{accepted, 0, "timeout", "c1", true, false}},
		{"unknown resolved by an event", []intentStep{begin(true), resolve(unknown, 0, "timeout", ""), claim("c1", true)}, want{accepted, 0, "timeout", "c1", true, false}},
		{"the reaper comes after the event", []intentStep{begin(true), claim("c1", true), resolve(unknown, 0, "crashed", ""), begin(false)}, want{accepted, 0, "crashed", "c1", true, false}},
		{"event of a refused dial", []intentStep{begin(true), resolve(refused, 400, "no", ""), claim("c1", true)}, want{refused, 400, "no", "c1", true, false}},
		{"event of a queued intent forbids the dial", []intentStep{create(true), claim("c1", true), begin(false)}, want{accepted, 0, "", "c1", false, false}},

		{"the same call claims twice", []intentStep{begin(true), claim("c1", true), claim("c1", true)}, want{accepted, 0, "", "c1", true, false}},
		{"another call claims", []intentStep{begin(true), claim("c1", true), claimConflicts("c2", "c1"), claim("c1", true)}, want{accepted, 0, "", "c1", true, false}},
		{"the event's id counts, not the answer's", []intentStep{begin(true), resolve(accepted, 202, "dial_accepted", "post"), claim("event", true), claimConflicts("post", "event")}, want{accepted, 202, "dial_accepted", "event", true, false}},
		{"the answer does not replace the event's id", []intentStep{begin(true), claim("event", true), resolve(accepted, 202, "dial_accepted", "post")}, want{accepted, 202, "dial_accepted", "event", true, false}},

		{"not ours", []intentStep{claim("c1", false)}, want{}},
		{"resolved without an intent", []intentStep{resolveFails(messages.CodeNotFound)}, want{}},
		{"resolved before it began", []intentStep{create(true), resolveFails(messages.CodeConflict)}, want{Status: messages.CallQueued}},
		{"unknown handed to operators", []intentStep{begin(true), resolve(unknown, 0, "timeout", ""), clearDue, clearDue}, want{unknown, 0, "timeout", "", true, false}},
	}
	onBoth(t, func(t *testing.T, s *Store) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				in := newIntent(test.name)
				for _, step := range test.steps {
					step(t, s, in)
				}
				got, err := s.Intent(t.Context(), in.ID)
				if test.want.Status == "" {
					if messages.CodeOf(err) != messages.CodeNotFound {
						t.Errorf("got %+v, %v, want not_found", got, err)
					}
					return
				}
				noError(t, err)
				_, err = s.client.ZScore(t.Context(), s.keys.due(messages.Partition(in.ID)), in.ID).Result()
				state := want{got.Status, got.HTTPStatus, got.Outcome, got.CallID, got.TriedAt != nil, err == nil}
				if diff := cmp.Diff(test.want, state); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				// The rest is what was asked for, whatever has happened since.
				got.Status, got.TriedAt, got.HTTPStatus, got.Outcome, got.CallID = in.Status, nil, 0, "", ""
				if diff := cmp.Diff(in, got); diff != "" {
					t.Errorf("the immutable part has changed (-want +got):\n%s", diff)
				}
			})
		}
	})
}

func clearDue(t *testing.T, s *Store, in messages.Intent) {
	t.Helper()
	noError(t, s.ClearDue(t.Context(), in.ID))
}

// Every change returns the intent as Intent would.
func TestIntentChangesReturnWhatIsStored(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx, in := t.Context(), newIntent("returned")
		same := func(got messages.Intent, err error) {
			t.Helper()
			noError(t, err)
			want, err := s.Intent(ctx, in.ID)
			noError(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-stored +returned):\n%s", diff)
			}
		}
		got, _, err := s.CreateIntent(ctx, in)
		same(got, err)
		got, _, err = s.BeginTry(ctx, in, time.Minute)
		same(got, err)
		if got.TriedAt == nil || time.Since(*got.TriedAt).Abs() > time.Minute {
			t.Errorf("tried at %v, want now", got.TriedAt)
		}
		got, _, err = s.BeginTry(ctx, in, time.Minute)
		same(got, err)
		same(s.ResolveTry(ctx, in.ID, Resolution{messages.CallUnknown, 504, "http_504", "c"}))
		got, _, err = s.ClaimIntent(ctx, in.ID, "c")
		same(got, err)
		got, _, err = s.CreateIntent(ctx, in)
		same(got, err)
	})
}

// The stored intent wins over the one that comes later under its id.
func TestCreateIntentReturnsTheFirst(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		first := newIntent("key")
		second := first
		second.To, second.Contact = "442079460000", nil
		_, _, err := s.CreateIntent(t.Context(), first)
		noError(t, err)
		for _, change := range []func() (messages.Intent, bool, error){
			func() (messages.Intent, bool, error) { return s.CreateIntent(t.Context(), second) },
			func() (messages.Intent, bool, error) { return s.BeginTry(t.Context(), second, time.Minute) },
		} {
			got, _, err := change()
			noError(t, err)
			if got.To != first.To || len(got.Contact) != len(first.Contact) {
				t.Errorf("got the intent to %s, want the first", messages.Number(got.To))
			}
		}
	})
}

// What a caller believes of an intent's progress is not stored.
func TestNewIntentsIgnoreProgress(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		in := newIntent("progress")
		at := time.Now()
		in.Status, in.TriedAt, in.HTTPStatus, in.Outcome, in.CallID = messages.CallAccepted, &at, 202, "dial_accepted", "c"
		got, created, err := s.CreateIntent(t.Context(), in)
		noError(t, err)
		if !created || got.Status != messages.CallQueued || got.TriedAt != nil || got.HTTPStatus != 0 || got.Outcome != "" || got.CallID != "" {
			t.Errorf("stored %+v", got)
		}
	})
}

func TestIntentInputs(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		nameless := newIntent("x")
		nameless.ID = ""
		for name, call := range map[string]func() error{
			"create without id":  func() error { _, _, err := s.CreateIntent(ctx, nameless); return err },
			"begin without id":   func() error { _, _, err := s.BeginTry(ctx, nameless, time.Minute); return err },
			"begin due before":   func() error { _, _, err := s.BeginTry(ctx, newIntent("x"), -time.Second); return err },
			"resolve to queued":  func() error { _, err := s.ResolveTry(ctx, "x", Resolution{Status: messages.CallQueued}); return err },
			"resolve to nothing": func() error { _, err := s.ResolveTry(ctx, "x", Resolution{}); return err },
			"claim for no call":  func() error { _, _, err := s.ClaimIntent(ctx, "x", ""); return err },
		} {
			if err := call(); messages.CodeOf(err) != messages.CodeInvalid {
				t.Errorf("%s: got code %s: %v", name, messages.CodeOf(err), err)
			}
		}
		if left := keysOf(t, s); len(left) != 0 {
			t.Errorf("bad input has left %q", left)
		}
	})
}

// External ids come from strangers' events: any text is only ever an id.
func TestClaimIntentOfStrangers(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		for _, id := range []string{"", "{}", "}{", "a b\x00\n", strings.Repeat("x", 5000), "4142b474-d65d-4265-a5fa-a581b1fe6101"} {
			in, claimed, err := s.ClaimIntent(t.Context(), id, "c")
			if err != nil || claimed || in.ID != "" {
				t.Errorf("claim of %.20q: got %v, %t, %v", id, in, claimed, err)
			}
		}
		if left := keysOf(t, s); len(left) != 0 {
			t.Errorf("strangers have left %q", left)
		}
	})
}

// I4: of any number of deliveries of one job, at whatever time, one may post.
func TestBeginTryIsTrueOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		for round := range 20 {
			in := newIntent(fmt.Sprint("race ", round))
			var begun atomic.Int32
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					if i%5 == 0 {
						if _, _, err := s.CreateIntent(t.Context(), in); err != nil {
							t.Error(err)
						}
						return
					}
					_, ok, err := s.BeginTry(t.Context(), in, time.Minute)
					if err != nil {
						t.Error(err)
					}
					if ok {
						begun.Add(1)
					}
				})
			}
			wg.Wait()
			if begun.Load() != 1 {
				t.Fatalf("%d tries have begun, want 1", begun.Load())
			}
		}
	})
}

// Of calls that claim one intent at a time, one wins; the others see which.
func TestClaimIntentHasOneWinner(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		in := newIntent("claimed")
		begin(true)(t, s, in)
		var winners atomic.Int32
		var wg sync.WaitGroup
		holders := make([]string, 20)
		for i := range holders {
			wg.Go(func() {
				got, claimed, err := s.ClaimIntent(t.Context(), in.ID, fmt.Sprint("call-", i))
				if claimed {
					winners.Add(1)
				} else if !errors.Is(err, ErrConflict) {
					t.Error(err)
				}
				holders[i] = got.CallID
			})
		}
		wg.Wait()
		if winners.Load() != 1 {
			t.Errorf("%d calls hold the intent, want 1", winners.Load())
		}
		for _, holder := range holders {
			if holder != holders[0] {
				t.Errorf("holders differ: %q", holders)
			}
		}
	})
}

func TestIntentRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx, retention := t.Context(), s.config.CallRetention
		in := newIntent("kept")
		in.NotAfter = time.Now().Add(48 * time.Hour)
		intent, due := s.keys.intent(in.ID), s.keys.due(messages.Partition(in.ID))

		create(true)(t, s, in)
		wantTTL(t, s, intent, 48*time.Hour+retention)
		begin(true)(t, s, in)
		wantTTL(t, s, intent, 48*time.Hour+retention)
		wantTTL(t, s, due, 48*time.Hour+time.Hour+retention)

		// A change never shortens what NotAfter has promised,
		resolve(messages.CallUnknown, 0, "timeout", "")(t, s, in)
		wantTTL(t, s, intent, 48*time.Hour+retention)
		wantTTL(t, s, due, 48*time.Hour+time.Hour+retention)
		// and starts the retention anew where less is left of it.
		noError(t, s.client.PExpire(ctx, intent, time.Hour).Err())
		noError(t, s.client.PExpire(ctx, due, time.Hour).Err())
		resolve(messages.CallUnknown, 0, "timeout", "")(t, s, in)
		wantTTL(t, s, intent, retention)
		wantTTL(t, s, due, retention)
		noError(t, s.client.PExpire(ctx, intent, time.Hour).Err())
		claim("c", true)(t, s, in)
		wantTTL(t, s, intent, retention)

		past := newIntent("past")
		past.NotAfter = time.Now().Add(-time.Hour)
		create(true)(t, s, past)
		wantTTL(t, s, s.keys.intent(past.ID), retention)

		never := newIntent("never")
		never.NotAfter = time.Time{}
		begin(true)(t, s, never)
		wantTTL(t, s, s.keys.intent(never.ID), retention)
	})
}

func TestDueIntents(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		due := func(limit int) []string {
			t.Helper()
			ids, err := s.DueIntents(ctx, limit)
			noError(t, err)
			return ids
		}
		if got := due(10); len(got) != 0 {
			t.Errorf("due in an empty store: %q", got)
		}
		const n = 300 // several in each of the 64 partitions
		partitions := make(map[string]bool)
		want := make([]string, 0, n)
		for i := range n {
			in := newIntent(fmt.Sprint("due ", i))
			in.ID = fmt.Sprintf("%s:{%d}", in.ID, i) // ids are opaque to the due set
			_, begun, err := s.BeginTry(ctx, in, 0)
			noError(t, err)
			if !begun {
				t.Fatal("not begun")
			}
			// One a second, so that their order is not left to the clock.
			noError(t, s.client.ZIncrBy(ctx, s.keys.due(messages.Partition(in.ID)), float64(1000*(i-n)), in.ID).Err())
			partitions[messages.Partition(in.ID)] = true
			want = append(want, in.ID)
		}
		if len(partitions) != messages.Partitions {
			t.Fatalf("the test reaches %d partitions", len(partitions))
		}
		later := newIntent("later")
		begin(true)(t, s, later) // in an hour

		for _, limit := range []int{1, 7, n, 2 * n} {
			if diff := cmp.Diff(want[:min(limit, n)], due(limit)); diff != "" {
				t.Errorf("limit %d (-want +got):\n%s", limit, diff)
			}
		}
		for _, limit := range []int{0, -1} {
			if got := due(limit); len(got) != 0 {
				t.Errorf("limit %d: %q", limit, got)
			}
		}
		// The first four are settled, each in another way.
		resolveID := func(id string, status messages.CallStatus) {
			t.Helper()
			_, err := s.ResolveTry(ctx, id, Resolution{Status: status})
			noError(t, err)
		}
		resolveID(want[0], messages.CallAccepted)
		resolveID(want[1], messages.CallRefused)
		_, _, err := s.ClaimIntent(ctx, want[2], "c")
		noError(t, err)
		resolveID(want[3], messages.CallUnknown)
		noError(t, s.ClearDue(ctx, want[3]))
		resolveID(want[4], messages.CallUnknown) // and this one waits for somebody
		if diff := cmp.Diff(want[4:7], due(3)); diff != "" {
			t.Errorf("after settling (-want +got):\n%s", diff)
		}
	})
}

// Due times pass by themselves, in the embedded store too.
func TestDueTimesPass(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		in := newIntent("soon")
		_, _, err := s.BeginTry(t.Context(), in, 200*time.Millisecond)
		noError(t, err)
		eventually(t, "the intent is due", func() bool {
			ids, err := s.DueIntents(t.Context(), 10)
			noError(t, err)
			return len(ids) == 1 && ids[0] == in.ID
		})
	})
}

func TestIntentRefusesForeignKeys(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		broken := map[string][]any{
			"json":   {fieldIntent, "{"},
			"none":   {fieldStatus, "queued"},
			"tried":  {fieldIntent, "{}", fieldTriedAt, "yesterday"},
			"status": {fieldIntent, "{}", fieldHTTPStatus, "OK"},
		}
		for id, fields := range broken {
			noError(t, s.client.HSet(ctx, s.keys.intent(id), fields...).Err())
			noError(t, s.client.PExpire(ctx, s.keys.intent(id), time.Hour).Err())
			if _, err := s.Intent(ctx, id); messages.CodeOf(err) != messages.CodeInternal || !strings.Contains(err.Error(), s.keys.intent(id)) {
				t.Errorf("%s: got code %s: %v", id, messages.CodeOf(err), err)
			}
		}
	})
}
