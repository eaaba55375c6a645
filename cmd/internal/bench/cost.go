package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"golang.org/x/sync/errgroup"

	"github.com/offhook/offhook/deploy/examples"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/store"
	"github.com/offhook/offhook/worker/call"
	"github.com/offhook/offhook/worker/flow"
)

// flowStep is how long one step of the survey takes, in nanoseconds: the state
// machine and the rendered action, without loading, encoding and storing.
func flowStep() (float64, error) {
	program, err := flow.Compile(examples.VisitSurveyName, examples.VisitSurvey)
	if err != nil {
		return 0, err
	}
	machine := call.Machine{Program: program, Limits: call.Limits{MaxPrompts: 100, HoldFor: time.Minute, Apology: "sorry", ApologyLanguage: "en-US"}}
	const calls = 2000
	began, steps := time.Now(), 0
	for range calls {
		state, err := call.ParseState(placeholder, nil)
		if err != nil {
			return 0, err
		}
		state.Facts = &call.Facts{Flow: program.Name, FlowHash: program.Hash, Direction: call.Outbound, To: "15558675309", From: "15555551212"}
		for i, e := range survey() {
			if e.event.Name == telesign.CallCompleted {
				break // ends the call, steps no flow
			}
			entry := call.Entry{ID: strconv.Itoa(i), Key: int64(i + 1), Seq: uint64(i + 1), Live: true, Name: e.event.Name, Status: e.event.Status, Digits: e.event.Digits} //nolint:gosec // below 7
			out := machine.Step(state, nil, entry, time.UnixMicro(int64(i+1)))
			if out.Decision.Action == nil || out.Decision.Action.Method() != e.want {
				return 0, messages.Errorf(messages.CodeInternal, "step %d of the survey: the decision is %+v, want %q", i, out.Decision, string(e.want))
			}
			state = out.State
			steps++
		}
	}
	return float64(time.Since(began).Nanoseconds()) / float64(steps), nil
}

// fewCalls is how many calls the cost with many is compared with.
const fewCalls = 1000

// cost measures loading and committing a call beside few and beside many others, in
// two redis-servers by turns, so that what else happens on the machine meets both.
// Neither waits for its disk.
func (s *system) cost(ctx context.Context, progress io.Writer, result *Report) error {
	id, err := s.liveCall(ctx)
	if err != nil {
		return fmt.Errorf("bring a call into the middle of the survey: %w", err)
	}
	key, dump, err := s.dump(ctx, id)
	if err != nil {
		return fmt.Errorf("read the state of a live call: %w", err)
	}
	var sides [2]*side
	for i, calls := range []int{fewCalls, s.cfg.Calls} {
		fmt.Fprintf(progress, "filling a redis-server with %d calls\n", calls)
		if sides[i], err = s.fill(ctx, "redis-"+[]string{"few", "many"}[i], calls, id, key, dump); err != nil {
			return fmt.Errorf("fill a redis-server with %d calls: %w", calls, err)
		}
		defer func() { _ = sides[i].store.Close() }()
	}
	const turns = 7
	var spent [2][]float64
	for turn := range turns + 1 {
		for i, side := range sides {
			took, err := side.run(ctx, s.cfg.Duration/4)
			if err != nil {
				return err
			}
			if turn > 0 { // the first warms up
				spent[i] = append(spent[i], took)
			}
		}
	}
	c := Cost{FewCalls: fewCalls, ManyCalls: s.cfg.Calls, Few: median(spent[0]), Many: median(spent[1])}
	c.Ratio = c.Many / c.Few
	result.Cost, result.BytesPerCall = &c, sides[1].bytes
	return nil
}

// liveCall brings one call through offhook to the survey's last question.
func (s *system) liveCall(ctx context.Context) (string, error) {
	events, err := templates()
	if err != nil {
		return "", err
	}
	c, err := dialServer(ctx, s.subjects[len(s.subjects)-1].host)
	if err != nil {
		return "", err
	}
	defer func() { _ = c.c.Close() }()
	id := callID(0)
	for _, t := range events[:4] {
		status, body, err := c.post(t.write(nil, []byte(id)))
		if err != nil {
			return "", err
		}
		if status != http.StatusOK {
			return "", messages.Errorf(messages.CodeInvalid, "HTTP %d: %.200s", status, body)
		}
	}
	return id, nil
}

// callID is the id of the n-th call of a filled redis-server.
func callID(n int) string { return fmt.Sprintf("%032X", n) }

// dump is the one key of a call, as Redis moves it between servers.
func (s *system) dump(ctx context.Context, id string) (key, dump string, err error) {
	client, err := s.client(s.redisURL)
	if err != nil {
		return "", "", err
	}
	defer func() { _ = client.Close() }()
	keys := client.Scan(ctx, 0, "*"+id+"*", 10_000).Iterator()
	for keys.Next(ctx) {
		if key != "" && key != keys.Val() {
			return "", "", messages.Errorf(messages.CodeInternal, "a call has more than one key: %s and %s", key, keys.Val())
		}
		key = keys.Val()
	}
	if err := keys.Err(); err != nil {
		return "", "", err
	}
	dump, err = client.Dump(ctx, key).Result()
	return key, dump, err
}

func (s *system) client(url string) (*redis.Client, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, err
	}
	o.ReadTimeout, o.WriteTimeout = time.Minute, time.Minute // long pipelines
	return redis.NewClient(o), nil
}

// side is one redis-server filled with calls.
type side struct {
	store  *store.Store
	calls  int
	bytes  int64 // per call
	commit store.Commit
}

// fill starts a redis-server and copies the call into it, each copy under the key
// that its own id would have.
func (s *system) fill(ctx context.Context, name string, calls int, id, key, dump string) (*side, error) {
	settings := append(redisSettings(SyncLater), "--auto-aof-rewrite-percentage", "0") // a rewrite would be measured too
	_, url, err := s.startRedis(ctx, name, settings)
	if err != nil {
		return nil, err
	}
	client, err := s.client(url)
	if err != nil {
		return nil, err
	}
	defer func() { _ = client.Close() }()
	retention := store.Config{}.WithDefaults().CallRetention
	if err := client.Restore(ctx, key, retention, dump).Err(); err != nil {
		return nil, err
	}
	before, err := usedMemory(ctx, client)
	if err != nil {
		return nil, err
	}
	const batch = 1000
	for first := 1; first < calls; first += batch {
		_, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for n := first; n < min(first+batch, calls); n++ {
				p.Copy(ctx, key, strings.Replace(key, id, callID(n), 1), 0, false)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	after, err := usedMemory(ctx, client)
	if err != nil {
		return nil, err
	}
	st, err := store.Open(ctx, store.Config{URL: url}, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	last := callID(calls - 1)
	loaded, err := st.LoadCall(ctx, last)
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	log, err := st.LoadLog(ctx, last)
	if err == nil && loaded.Revision == 0 {
		err = messages.Errorf(messages.CodeInternal, "the copy of a call is not where the store looks for it")
	}
	if err != nil {
		return nil, errors.Join(err, st.Close())
	}
	// The log is replaced by itself, so that no call grows, however often it is hit.
	commit := store.Commit{State: loaded.State, Outbox: loaded.Outbox, Log: log, RewriteLog: true}
	return &side{store: st, calls: calls, bytes: (after - before) / int64(calls-1), commit: commit}, nil
}

func usedMemory(ctx context.Context, client *redis.Client) (int64, error) {
	info, err := client.InfoMap(ctx, "memory").Result()
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(info["Memory"]["used_memory"], 10, 64)
}

// run loads and commits random calls for a while and returns what one took, in
// microseconds.
func (s *side) run(ctx context.Context, d time.Duration) (float64, error) {
	const workers = 8
	var counts [workers]int
	began := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for i := range workers {
		group.Go(func() error {
			for time.Since(began) < d {
				id := callID(rand.IntN(s.calls))
				loaded, err := s.store.LoadCall(ctx, id)
				if err != nil {
					return err
				}
				c := s.commit
				c.Expect = loaded.Revision
				// Two workers may have picked the same call.
				if err := s.store.CommitCall(ctx, id, c); err != nil && !errors.Is(err, store.ErrConflict) {
					return err
				}
				counts[i]++
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return 0, err
	}
	took, n := time.Since(began), 0
	for _, c := range counts {
		n += c
	}
	return float64(took.Microseconds()) / float64(max(n, 1)), nil
}
