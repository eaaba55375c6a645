package api_test

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/ingress/api"
	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

const (
	person   = "15558675309"
	callerID = "15555551212"
)

// placing is a good request with some of its fields replaced; nil removes one.
func placing(t *testing.T, change map[string]any) string {
	t.Helper()
	fields := map[string]any{"to": person, "caller_id_number": callerID, "flow": "survey", "contact": map[string]any{"first_name": "Ann"}}
	for name, value := range change {
		if fields[name] = value; value == nil {
			delete(fields, name)
		}
	}
	body, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestPlace(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey, notice)
	var exchanges []exchange
	add := func(title string, change map[string]any) {
		exchanges = append(exchanges, exchange{title, http.MethodPost, "/v1/calls", placing(t, change)})
	}
	add("placed", map[string]any{"idempotency_key": "placed"})
	add("numbers that are probably mistaken", map[string]any{"to": "1555867", "caller_id_number": "5551212", "idempotency_key": "short"})
	add("an optional column", map[string]any{"contact": map[string]any{"first_name": "Ann", "title": "Dr"}, "idempotency_key": "title"})
	accepted := len(exchanges)

	add("no number", map[string]any{"to": nil})
	add("a number with a plus", map[string]any{"to": "+15558675309"})
	add("a number that is too long", map[string]any{"to": "1555867530900000"})
	add("no caller id", map[string]any{"caller_id_number": nil})
	add("a caller id in words", map[string]any{"caller_id_number": "Example Clinic"})
	add("no flow", map[string]any{"flow": nil})
	add("an unknown flow", map[string]any{"flow": "survy"})
	add("an unknown flow with a long name", map[string]any{"flow": strings.Repeat("é", 150)})
	add("a flow that takes incoming calls only", map[string]any{"flow": "notice", "contact": nil})
	add("no contact", map[string]any{"contact": nil})
	add("a blank required column", map[string]any{"contact": map[string]any{"first_name": " "}})
	add("an unknown column", map[string]any{"contact": map[string]any{"first_name": "Ann", "titel": "Dr"}})
	add("a time in the past", map[string]any{"not_after": "2026-01-02T03:04:05Z"})
	add("a time too far away", map[string]any{"not_after": "2126-01-02T03:04:05Z"})
	add("a key of 201 bytes", map[string]any{"idempotency_key": strings.Repeat("k", 201)})
	for _, malformed := range []struct{ title, body string }{
		{"nothing", ""},
		{"not JSON", `{"to":`},
		{"null", `null`},
		{"a list", `[{"to":"15558675309"}]`},
		{"a number that is not a string", `{"to":15558675309}`},
		{"a column that is not a string", `{"contact":{"first_name":7}}`},
		{"a contact that is a list", `{"contact":["Ann"]}`},
		{"a time in words", `{"not_after":"tomorrow"}`},
		{"a misspelt field", `{"too":"15558675309"}`},
		{"two objects", `{"to":"15558675309"}{"to":"15558675309"}`},
		{"something after the object", `{"to":"15558675309"} please`},
	} {
		exchanges = append(exchanges, exchange{malformed.title, http.MethodPost, "/v1/calls", malformed.body})
	}
	h.golden("place.txt", exchanges)
	if n := len(h.queued()); n != accepted {
		t.Errorf("%d jobs are queued, want the %d that were accepted", n, accepted)
	}
}

// The list of fields in an error must be the request's own.
func TestFieldsAreListed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{})
	_, answer := h.ask(http.MethodPost, "/v1/calls", `{"x":1}`)
	request := reflect.TypeFor[messages.PlaceCall]()
	for i := range request.NumField() {
		name, _, _ := strings.Cut(request.Field(i).Tag.Get("json"), ",")
		if !strings.Contains(answer, name) {
			t.Errorf("%q is not listed in %s", name, answer)
		}
	}
}

func TestNoFlowIsLoaded(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{})
	status, answer := h.ask(http.MethodPost, "/v1/calls", placing(t, nil))
	if status != http.StatusBadRequest || !strings.Contains(answer, "start one with --flow") {
		t.Errorf("got %d %s", status, answer)
	}
}

// What is queued is the whole intent, with what the request left out.
func TestPlacedJob(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{CallerID: callerID}, survey)
	before := time.Now().UTC()
	placed := h.place(placing(t, map[string]any{"caller_id_number": nil}))
	after := time.Now().UTC()
	jobs := h.queued()
	if len(jobs) != 1 {
		t.Fatalf("%d jobs are queued, want 1", len(jobs))
	}
	got := jobs[0].Intent
	if got.CreatedAt.Before(before) || got.CreatedAt.After(after) || got.NotAfter != got.CreatedAt.Add(10*time.Minute) {
		t.Errorf("created at %s, wanted until %s; it was asked for between %s and %s", got.CreatedAt, got.NotAfter, before, after)
	}
	got.CreatedAt, got.NotAfter = time.Time{}, time.Time{}
	want := messages.Intent{
		Schema: messages.IntentSchema, ID: placed.ID, To: person, CallerID: callerID, Flow: "survey", FlowHash: h.putFlow(survey).Hash,
		Contact: map[string]string{"first_name": "Ann"}, Attempt: 1, Status: messages.CallQueued,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	until := time.Now().Add(23 * time.Hour).UTC().Truncate(time.Second)
	again := h.place(placing(t, map[string]any{"not_after": until.In(time.FixedZone("", 3600))}))
	if again.ID == placed.ID || again.Replayed {
		t.Errorf("a second request without a key got %+v", again)
	}
	if jobs = h.queued(); len(jobs) != 2 || !jobs[1].Intent.NotAfter.Equal(until) {
		t.Errorf("queued %+v, want a second job until %s", jobs, until)
	}
	if !strings.Contains(h.log.String(), `"to":"****09"`) {
		t.Errorf("no masked number in the log:\n%s", h.log)
	}
}

func TestEnginesDown(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey)
	h.jobs.fail(errBroken, nil)
	h.golden("nats_down.txt", []exchange{
		{"with a key", http.MethodPost, "/v1/calls", placing(t, map[string]any{"idempotency_key": "k"})},
		{"without", http.MethodPost, "/v1/calls", placing(t, nil)},
	})

	h.redis.Stop(t)
	for _, e := range []exchange{
		{"with a key", http.MethodPost, "/v1/calls", placing(t, map[string]any{"idempotency_key": "k"})},
		{"without", http.MethodPost, "/v1/calls", placing(t, nil)},
		{"show", http.MethodGet, "/v1/calls/X", ""},
		{"flows", http.MethodGet, "/v1/flows", ""},
	} {
		status, answer := h.ask(e.method, e.path, e.body)
		if status != http.StatusServiceUnavailable || !strings.Contains(answer, `"code":"unavailable"`) || !strings.Contains(answer, "Redis at ") {
			t.Errorf("%s: got %d %s", e.title, status, answer)
		}
		if says := strings.Contains(answer, "was not placed; repeat the request"); says != (e.method == http.MethodPost) {
			t.Errorf("%s: got %s", e.title, answer)
		}
	}
	if n := strings.Count(h.log.String(), "request failed"); n != 6 {
		t.Errorf("%d failures are logged, want 6:\n%s", n, h.log)
	}
}

// A client that goes away does not leave an intent without its job.
func TestClientGoesAway(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey)
	ctx, cancel := context.WithCancel(context.Background())
	h.jobs.Jobs = jobsFunc(func(publish context.Context, job messages.DialJob) error {
		cancel() // now, while the job is on its way
		if publish.Err() != nil {
			t.Error("the job was given up with its client")
		}
		return h.bus.PublishJob(publish, job)
	})
	mux := http.NewServeMux()
	api.New(api.Config{}, h.store, h.jobs, discard()).Register(mux)
	serve(mux, ctx, http.MethodPost, "/v1/calls", placing(t, nil))
	if n := len(h.queued()); n != 1 {
		t.Errorf("%d jobs are queued, want 1", n)
	}
}

type jobsFunc func(ctx context.Context, j messages.DialJob) error

func (f jobsFunc) PublishJob(ctx context.Context, j messages.DialJob) error { return f(ctx, j) }

// A worker takes what the API queued, and a repetition then queues nothing.
func TestPlacedJobReachesAWorker(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey)
	ctx, stop := context.WithCancel(within(t))
	defer stop()
	taken := make(chan messages.DialJob, 1)
	consumed := make(chan error, 1)
	go func() {
		consumed <- h.bus.ConsumeJobs(ctx, bus.ConsumerConfig{}, func(ctx context.Context, j messages.DialJob, _ int) bus.JobResult {
			if _, _, err := h.store.BeginTry(ctx, j.Intent, time.Minute); err != nil {
				return bus.JobResult{Result: bus.Retry(0, err)}
			}
			return bus.JobResult{Result: bus.Done(), After: func(context.Context) { taken <- j }}
		})
	}()
	body := placing(t, map[string]any{"idempotency_key": "k"})
	placed := h.place(body)
	select {
	case job := <-taken:
		if job.Intent.ID != placed.ID || job.Intent.To != person {
			t.Errorf("the worker got %+v", job)
		}
	case <-ctx.Done():
		t.Fatal("no worker got the job")
	}
	if shown := h.show(placed.ID); shown.Status != messages.CallDialing {
		t.Errorf("the call is %s", shown.Status)
	}
	if again := h.place(body); again.ID != placed.ID || !again.Replayed {
		t.Errorf("the repetition got %+v", again)
	}
	stop()
	if err := <-consumed; err != nil {
		t.Error(err)
	}
	if jobs := h.queued(); len(jobs) != 0 {
		t.Errorf("jobs are queued: %+v", jobs)
	}
}

// A flow that nobody has run for longer than flows are kept still has its name when
// others are in use.
func TestForgottenFlow(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey, notice)
	options, err := redis.ParseURL(h.redis.URL())
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	if n, err := client.Del(within(t), "offhook:flow:{flows}:"+h.putFlow(survey).Hash).Result(); err != nil || n != 1 {
		t.Fatalf("%d flows deleted, %v", n, err)
	}
	status, answer := h.ask(http.MethodPost, "/v1/calls", placing(t, nil))
	if status != http.StatusBadRequest || !strings.Contains(answer, `"field":"flow"`) || !strings.Contains(answer, "was forgotten") {
		t.Errorf("got %d %s", status, answer)
	}
}

// A worker of another version may store a flow that this API cannot read.
func TestFlowOfAnotherVersion(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{})
	if err := h.store.PutFlow(within(t), "new", "0123", []byte("name: new\nsing: true\n")); err != nil {
		t.Fatal(err)
	}
	status, answer := h.ask(http.MethodPost, "/v1/calls", placing(t, map[string]any{"flow": "new"}))
	if status != http.StatusConflict || !strings.Contains(answer, "run the same version of offhook everywhere") {
		t.Errorf("got %d %s", status, answer)
	}
}

// Any browser on the machine reaches a loopback address, for whatever page it
// shows.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	h := newHouse(t, api.Config{}, survey)
	for _, tt := range []struct {
		header []string
		status int
	}{
		{[]string{"Sec-Fetch-Site", "cross-site"}, http.StatusUnauthorized},
		{[]string{"Origin", "https://evil.example.com"}, http.StatusUnauthorized},
		{[]string{"Origin", h.url}, http.StatusAccepted},
		{[]string{"Content-Type", "application/x-www-form-urlencoded"}, http.StatusAccepted}, // curl -d
	} {
		status, answer := h.ask(http.MethodPost, "/v1/calls", placing(t, nil), tt.header...)
		if status != tt.status {
			t.Errorf("%v: got %d %s, want %d", tt.header, status, answer, tt.status)
		}
	}
	if status, _ := h.ask(http.MethodGet, "/v1/flows", "", "Origin", "https://evil.example.com"); status != http.StatusOK {
		t.Errorf("reading got %d", status) // the browser keeps the answer from the page
	}
}
