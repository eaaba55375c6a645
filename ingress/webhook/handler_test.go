package webhook

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
)

var update = flag.Bool("update", false, "write testdata/answers instead of comparing with it")

// spell writes an answer down as a golden file holds it.
func spell(w *httptest.ResponseRecorder) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", w.Code)
	var names []string
	for name := range w.Header() {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s: %s\n", name, strings.Join(w.Header()[name], " | "))
	}
	fmt.Fprintf(&b, "\n%s\n", w.Body)
	return b.String()
}

// TestAnswers has every answer the door can give in testdata/answers, byte for
// byte as TeleSign or an operator's curl gets it.
func TestAnswers(t *testing.T) {
	t.Parallel()
	plain := func(method, path, body string) func(testing.TB) *http.Request {
		return func(testing.TB) *http.Request { return httptest.NewRequest(method, path, strings.NewReader(body)) }
	}
	sign := func(body string) func(testing.TB) *http.Request {
		return func(t testing.TB) *http.Request { return signed(t, body) }
	}
	stored := script{replyAt: never}
	ready := script{reply: decided}
	cannot := script{reply: holds}
	for name, c := range map[string]struct {
		request func(testing.TB) *http.Request
		script  script
		tell    func(context.Context, messages.Envelope) error
		full    bool
	}{
		"200_decided":                    {request: sign(incoming), script: ready},
		"200_decided_unknown_event":      {request: sign(named("conference_joined")), script: ready},
		"200_decided_unknown_members":    {request: sign(`{"new":[1,{"a":null}],"event":"speak_completed","reference_id":"A","data":{"more":1e400}}`), script: ready},
		"200_call_completed":             {request: sign(ended), script: stored},
		"200_hold_incoming_call":         {request: sign(incoming), script: cannot},
		"200_hold_dial_answered":         {request: sign(dialled("answered")), script: cannot},
		"200_hold_speak_completed":       {request: sign(named("speak_completed")), script: cannot},
		"200_hold_play_completed":        {request: sign(named("play_completed")), script: cannot},
		"200_hold_call_leg_completed":    {request: sign(named("call_leg_completed")), script: cannot},
		"200_hangup_dial_busy":           {request: sign(dialled("busy")), script: cannot},
		"200_hangup_dial_without_status": {request: sign(named("dial_completed")), script: cannot},
		"200_nothing_unknown_event":      {request: sign(named("conference_joined")), script: cannot},

		"400_empty":                   {request: sign("")},
		"400_not_json":                {request: sign(`{"event":incoming_call}`)},
		"400_cut_off":                 {request: sign(incoming[:40])},
		"400_trailing_garbage":        {request: sign(incoming + "x")},
		"400_second_value":            {request: sign(incoming + incoming)},
		"400_array":                   {request: sign("[" + incoming + "]")},
		"400_string":                  {request: sign(`"15558675309"`)},
		"400_null":                    {request: sign("null")},
		"400_no_event":                {request: sign(`{"reference_id":"A","data":{"to":"15558675309"}}`)},
		"400_empty_event":             {request: sign(`{"event":"","reference_id":"A"}`)},
		"400_event_number":            {request: sign(`{"event":15558675309,"reference_id":"A"}`)},
		"400_no_reference_id":         {request: sign(`{"event":"incoming_call"}`)},
		"400_empty_reference_id":      {request: sign(`{"event":"incoming_call","reference_id":""}`)},
		"400_reference_id_number":     {request: sign(`{"event":"incoming_call","reference_id":15558675309}`)},
		"400_data_array":              {request: sign(`{"event":"incoming_call","reference_id":"A","data":["15558675309"]}`)},
		"400_status_number":           {request: sign(`{"event":"speak_completed","reference_id":"A","data":{"status":15558675309}}`)},
		"400_digits_list":             {request: sign(`{"event":"speak_completed","reference_id":"A","data":{"collected_digits":["15558675309"]}}`)},
		"400_name_in_other_case":      {request: sign(`{"Event":"incoming_call","reference_id":"A"}`)},
		"400_long_event":              {request: sign(named(strings.Repeat("x", maxName+1)))},
		"400_long_reference_id":       {request: sign(`{"event":"incoming_call","reference_id":"` + strings.Repeat("x", maxName+1) + `"}`)},
		"401_not_signed":              {request: plain(http.MethodPost, Path, incoming)},
		"401_not_signed_and_not_json": {request: plain(http.MethodPost, Path, "{")},
		"404_other_path":              {request: plain(http.MethodPost, "/telesign/event", incoming)},
		"404_root":                    {request: plain(http.MethodGet, "/", "")},
		"405_get":                     {request: plain(http.MethodGet, Path, "")},
		"405_put":                     {request: plain(http.MethodPut, Path, incoming)},
		"413_announced":               {request: sign(strings.Repeat(" ", MaxBody) + incoming)},
		"413_unannounced": {request: func(testing.TB) *http.Request {
			return httptest.NewRequest(http.MethodPost, Path, iotest.OneByteReader(bytes.NewReader(make([]byte, MaxBody+1))))
		}},
		"503_bus_down":               {request: sign(incoming), script: script{refused: errFull}},
		"503_event_refused":          {request: sign(incoming), script: script{stored: errFull, reply: decided}},
		"503_call_completed_refused": {request: sign(ended), tell: tellFails},
		"503_report_refused":         {request: sign(incoming), script: cannot, tell: tellFails},
		"503_full":                   {request: sign(incoming), script: ready, full: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t, Config{MaxInFlight: 1}, &fakeBus{script: c.script, tell: c.tell})
			if c.full && !d.room.enter(messages.Envelope{EventID: "another"}) {
				t.Fatal("the room is full from the start")
			}
			w := d.post(c.request(t))
			got := spell(w)
			file := filepath.Join("testdata", "answers", name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if fmt.Sprint(w.Code) != name[:3] {
				t.Errorf("status %d, and the case is called %s", w.Code, name)
			}
			for _, secret := range []string{"15558675309", "15555551212", testKey, testKey[:10]} {
				if strings.Contains(got, secret) || strings.Contains(d.log.String(), secret) {
					t.Errorf("%s is shown:\n%s\n%s", secret, got, d.log)
				}
			}
			if w.Code == http.StatusOK {
				return
			}
			d.bus.mu.Lock()
			defer d.bus.mu.Unlock()
			if w.Code < 500 && len(d.bus.journal) != 0 {
				t.Errorf("a refused request reached the bus: %v", d.bus.journal)
			}
		})
	}
}

// TestBodySizes has the limit exact: 64 KiB are an event, one byte more is not.
func TestBodySizes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		size, want int
	}{{MaxBody - 1, 200}, {MaxBody, 200}, {MaxBody + 1, 413}} {
		d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
		body := incoming + strings.Repeat(" ", c.size-len(incoming))
		for _, announced := range []bool{true, false} {
			r := signed(t, body)
			if !announced {
				r.ContentLength = -1
			}
			if w := d.post(r); w.Code != c.want {
				t.Errorf("%d bytes, announced %t: status %d, want %d", c.size, announced, w.Code, c.want)
			}
		}
	}
}

// TestSignatures is the matrix of what TeleSign may send in its two headers, and of
// what must not pass.
func TestSignatures(t *testing.T) {
	t.Parallel()
	good := signature(t, testKey, incoming)["X-TS-Authorization"]
	foreign := signature(t, otherKey, incoming)["X-TS-Authorization"]
	otherBody := signature(t, testKey, incoming+" ")["X-TS-Authorization"]
	for name, c := range map[string]struct {
		authorization, xts string
		want               int
	}{
		"both, as documented":        {"TSA " + testCustomer + ":" + good, good, 200},
		"authorization alone":        {"TSA " + testCustomer + ":" + good, "", 200},
		"x-ts alone":                 {"", good, 200},
		"x-ts in the long form":      {"", "TSA " + testCustomer + ":" + good, 200},
		"authorization bare":         {good, "", 200},
		"without TSA":                {testCustomer + ":" + good, "", 200},
		"customer id in lower case":  {"TSA " + strings.ToLower(testCustomer) + ":" + good, good, 200},
		"a proxy's basic beside it":  {"Basic dXNlcjpwYXNz", good, 200},
		"neither":                    {"", "", 401},
		"another key":                {"TSA " + testCustomer + ":" + foreign, foreign, 401},
		"another body":               {"TSA " + testCustomer + ":" + otherBody, otherBody, 401},
		"another customer":           {"TSA 00000000-EEEE-DDDD-1234-AB1234567890:" + good, good, 401},
		"another customer, x-ts":     {"", "00000000-EEEE-DDDD-1234-AB1234567890:" + good, 401},
		"signature without its end":  {"TSA " + testCustomer + ":" + good[:len(good)-4], "", 401},
		"signature with a tail":      {"TSA " + testCustomer + ":" + good + "AAAA", "", 401},
		"not base64":                 {"TSA " + testCustomer + ":!", "!", 401},
		"customer without signature": {"TSA " + testCustomer + ":", "", 401},
		"TSA alone":                  {"TSA", "", 401},
		"basic alone":                {"Basic dXNlcjpwYXNz", "", 401},
	} {
		for _, insecure := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, insecure %t", name, insecure), func(t *testing.T) {
				t.Parallel()
				d := newDoor(t, Config{Insecure: insecure}, &fakeBus{script: script{reply: decided}})
				r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(incoming))
				if c.authorization != "" {
					r.Header.Set("Authorization", c.authorization)
				}
				if c.xts != "" {
					r.Header.Set("x-ts-authorization", c.xts)
				}
				want := c.want
				if insecure {
					want = 200
				}
				if w := d.post(r); w.Code != want {
					t.Errorf("status %d, want %d: %s", w.Code, want, w.Body)
				}
				if warned := strings.Contains(d.log.String(), "INSECURE"); warned != insecure {
					t.Errorf("warned of unsigned events: %t, insecure: %t", warned, insecure)
				}
				if want == 401 && d.metric(t, "offhook_webhook_rejected_total", "reason=unauthorized") != 1 {
					t.Error("the refusal was not counted")
				}
			})
		}
	}
}

// TestKeyRotation accepts the old key and the new one at the same time.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
	d.UseVerifier(mustVerifier(t, otherKey, testKey))
	for _, key := range []string{testKey, otherKey} {
		r := httptest.NewRequest(http.MethodPost, Path, strings.NewReader(incoming))
		for name, value := range signature(t, key, incoming) {
			r.Header.Set(name, value)
		}
		if w := d.post(r); w.Code != 200 {
			t.Errorf("status %d: %s", w.Code, w.Body)
		}
	}
}

// TestEnvelope has the event on the stream exactly as it came, with all that the
// worker needs beside it.
func TestEnvelope(t *testing.T) {
	t.Parallel()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	body := " {\"event\":\"speak_completed\",\n\"reference_id\":\"A/B c\", \"data\":{\"collected_digits\":\"007\"} } \n"
	d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
	r := signed(t, body)
	r.Header.Set("traceparent", parent)
	if w := d.post(r); w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if len(d.bus.asked) != 1 {
		t.Fatalf("asked %d times", len(d.bus.asked))
	}
	got := d.bus.asked[0]
	if window := got.Deadline.Sub(got.Arrived); window != d.cfg.AnswerWithin {
		t.Errorf("the deadline is %v after the arrival, want %v", window, d.cfg.AnswerWithin)
	}
	if got.EventID == "" || got.Arrived.IsZero() || got.Arrived.Nanosecond()%1000 != 0 {
		t.Errorf("event id %q, arrived %v: want an id and whole microseconds", got.EventID, got.Arrived)
	}
	want := messages.Envelope{
		Kind: messages.KindEvent, EventID: got.EventID, CallID: "A/B c", Event: "speak_completed",
		Arrived: got.Arrived, Deadline: got.Deadline, Trace: parent, Body: []byte(body),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("envelope (-want +got):\n%s", diff)
	}
	back, err := messages.ParseEnvelope(got.Header(), got.Body)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back); diff != "" {
		t.Errorf("envelope after the wire (-want +got):\n%s", diff)
	}
}

// TestEveryRequestIsAnEvent: equal bytes get ids of their own, since two real
// events can be equal.
func TestEveryRequestIsAnEvent(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
	ids := map[string]bool{}
	for range 3 {
		d.post(signed(t, incoming))
	}
	for _, env := range d.bus.asked {
		ids[env.EventID] = true
	}
	if len(ids) != 3 {
		t.Errorf("%d ids for 3 requests", len(ids))
	}
}

// TestDuplicateMembers: of two members of one name the last counts.
func TestDuplicateMembers(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
	body := `{"event":"call_completed","reference_id":"first","event":"incoming_call","reference_id":"last"}`
	if w := d.post(signed(t, body)); w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	got := d.bus.asked[0]
	if got.CallID != "last" || got.Event != "incoming_call" || string(got.Body) != body {
		t.Errorf("call %q, event %q, body %s", got.CallID, got.Event, got.Body)
	}
}

// TestCallCompletedIsOnlyStored: nobody waits for a worker, and the event says so.
func TestCallCompletedIsOnlyStored(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{}, &fakeBus{})
	if w := d.post(signed(t, ended)); w.Code != 200 || w.Body.String() != "{}" {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	if len(d.bus.asked) != 0 || len(d.bus.told) != 1 {
		t.Fatalf("journal %v", d.bus.journal)
	}
	got := d.bus.told[0]
	if got.Kind != messages.KindEvent || !got.Deadline.IsZero() || got.ReplyTo != "" || string(got.Body) != ended {
		t.Errorf("envelope %+v", got)
	}
}

// TestLabels: strangers cannot make series, and no series names a call.
func TestLabels(t *testing.T) {
	t.Parallel()
	d := newDoor(t, Config{}, &fakeBus{script: script{reply: decided}})
	for i := range 100 {
		d.post(signed(t, named(fmt.Sprintf("event_%d", i))))
	}
	d.post(signed(t, incoming))
	if got := d.metric(t, "offhook_webhook_answers_total", "event=other", "outcome=decided"); got != 100 {
		t.Errorf("%v answers to other events, want 100", got)
	}
	if got := d.metric(t, "offhook_webhook_answers_total", "event=incoming_call", "outcome=decided"); got != 1 {
		t.Errorf("%v answers to incoming_call, want 1", got)
	}
	if got := d.metric(t, "offhook_webhook_answer_duration_seconds", "flow=", "step=hello"); got != 101 {
		t.Errorf("%v durations of the step, want 101", got)
	}
	families, err := d.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	series := 0
	for _, f := range families {
		series += len(f.GetMetric())
	}
	if series > 10 {
		t.Errorf("%d series after 101 events", series)
	}
}
