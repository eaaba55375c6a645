package worker_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
	"github.com/offhook/offhook/messages/telesign"
	"github.com/offhook/offhook/worker"
	"github.com/offhook/offhook/worker/dial"
)

// answer is how the recording TeleSign answers a POST.
type answer struct {
	status int // 0 closes the connection without a word
	body   string
}

var acceptedAnswer = answer{http.StatusAccepted, `{"status":"dial_accepted","reference_id":"ACCEPTED"}`}

// teleSign records every POST.
type teleSign struct {
	url    string
	answer answer
	during func(id string) // runs while a POST waits for its answer

	mu    sync.Mutex
	posts map[string]int // by external_id
}

func startTeleSign(t *testing.T, a answer) *teleSign {
	t.Helper()
	s := &teleSign{answer: a, posts: map[string]int{}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("reading a POST: %v", err)
		}
		action, err := telesign.ParseAction(body)
		d, ok := action.(telesign.Dial)
		if err != nil || !ok {
			t.Errorf("posted %s: %v", body, err)
		}
		if d.To != personNumber || d.CallerIDNumber != ourNumber || d.MaxCallDuration != longestCall {
			t.Errorf("posted %s", body)
		}
		s.mu.Lock()
		s.posts[d.ExternalID]++
		s.mu.Unlock()
		if s.during != nil {
			s.during(d.ExternalID)
		}
		if s.answer.status == 0 {
			panic(http.ErrAbortHandler)
		}
		w.WriteHeader(s.answer.status)
		_, _ = io.WriteString(w, s.answer.body)
	}))
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// posted is how many POSTs an intent got.
func (s *teleSign) posted(id string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.posts[id]
}

const (
	dialTimeout = 10 * time.Second
	longestCall = 15 * time.Minute
)

// dialer is the process' dialer towards s.
func (p *process) dialer(s *teleSign) *worker.Dialer {
	p.w.t.Helper()
	return p.dialerLogging(s, discard)
}

func (p *process) dialerLogging(s *teleSign, log *slog.Logger) *worker.Dialer {
	p.w.t.Helper()
	client, err := dial.New(dial.Config{
		URL: s.url, Timeout: dialTimeout,
		Credentials: telesign.Credentials{CustomerID: "FFFFFFFF-EEEE-DDDD-1234-AB1234567890", APIKey: "dGVzdA=="},
	}, discard)
	noError(p.w.t, err)
	return worker.NewDialer(p.store, p.bus, client, dialTimeout, longestCall, p.metrics, log)
}

// dueNow makes the time of every due intent come.
func (w *world) dueNow() {
	w.t.Helper()
	c := w.redisClient()
	defer func() { _ = c.Close() }()
	w.eachDue(func(id string) {
		noError(w.t, c.ZAddXX(within(w.t), w.prefix+":due:{"+messages.Partition(id)+"}", redis.Z{Score: 0, Member: id}).Err())
	})
}

// wantNothingDue wants no intent to be due, now or later.
func (w *world) wantNothingDue() {
	w.t.Helper()
	w.eachDue(func(id string) { w.t.Errorf("intent %s is still due", id) })
}

func (w *world) eachDue(do func(id string)) {
	w.t.Helper()
	c := w.redisClient()
	defer func() { _ = c.Close() }()
	keys := c.Scan(within(w.t), 0, w.prefix+":due:*", 1000).Iterator()
	for keys.Next(within(w.t)) {
		ids, err := c.ZRange(within(w.t), keys.Val(), 0, -1).Result()
		noError(w.t, err)
		for _, id := range ids {
			do(id)
		}
	}
	noError(w.t, keys.Err())
}

// redisClient is for what no worker does.
func (w *world) redisClient() *redis.Client {
	w.t.Helper()
	o, err := redis.ParseURL(w.redis)
	noError(w.t, err)
	return redis.NewClient(o)
}

// wantParked wants a failure to be an ambiguous dial of an intent, and returns the
// intent as it was then.
func (w *world) wantParked(f messages.Failure, id string) messages.Intent {
	w.t.Helper()
	var in messages.Intent
	noError(w.t, json.Unmarshal(f.Body, &in))
	if f.Kind != messages.FailureDial || f.Reason != messages.ReasonAmbiguous || f.Attempts != 1 || f.Worker != "worker-1" ||
		f.Subject != "offhook.dial.direct.any" || f.Error == "" || time.Since(f.FailedAt) > time.Hour {
		w.t.Errorf("parked as %+v", f)
	}
	if in.ID != id || in.To != personNumber || in.Status != messages.CallUnknown {
		w.t.Errorf("parked intent %+v, want %s, unknown", in, id)
	}
	return in
}

// Each outcome of a dial, and what it leaves: the intent's status, a record of what
// never became a call, an entry in the failed stream for what may have rung.
func TestDialOutcomes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name        string
		answer      answer
		nobody      bool // TeleSign cannot be reached
		expired     bool
		status      messages.CallStatus
		outcome     string
		counted     string
		disposition messages.Disposition // of the record; empty: there is none
		parked      bool
	}{
		{name: "accepted", answer: acceptedAnswer, status: messages.CallAccepted, outcome: "dial_accepted", counted: "accepted"},
		{name: "200 is a refusal", answer: answer{http.StatusOK, `{"status":"to_number_blocked_by_country"}`}, status: messages.CallRefused, outcome: "to_number_blocked_by_country", counted: "refused", disposition: messages.DispositionBlocked},
		{name: "no such number", answer: answer{http.StatusBadRequest, `{"status":"invalid_phone_number"}`}, status: messages.CallRefused, outcome: "invalid_phone_number", counted: "refused", disposition: messages.DispositionInvalidNumber},
		{name: "unauthorized", answer: answer{http.StatusUnauthorized, `{"status":"not_authorized"}`}, status: messages.CallRefused, outcome: "not_authorized", counted: "unauthorized", disposition: messages.DispositionFailed},
		{name: "rate limited", answer: answer{http.StatusTooManyRequests, `{"status":"rate_limit_exceeded"}`}, status: messages.CallRefused, outcome: "rate_limit_exceeded", counted: "rate_limited", disposition: messages.DispositionFailed},
		{name: "not sent", nobody: true, status: messages.CallRefused, outcome: "not_sent", counted: "not_sent", disposition: messages.DispositionFailed},
		{name: "expired", expired: true, answer: acceptedAnswer, status: messages.CallRefused, outcome: "expired", counted: "expired", disposition: messages.DispositionExpired},
		{name: "broken", answer: answer{http.StatusInternalServerError, "oh dear"}, status: messages.CallUnknown, outcome: "ambiguous", counted: "ambiguous", parked: true},
		{name: "cut off", answer: answer{}, status: messages.CallUnknown, outcome: "ambiguous", counted: "ambiguous", parked: true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := startTeleSign(t, test.answer)
			if test.nobody {
				s = &teleSign{url: "http://127.0.0.1:1"}
			}
			p := w.start(plan{})
			c := w.place(func(in *messages.Intent) {
				if test.expired {
					in.NotAfter = time.Now().Add(-time.Millisecond).UTC().Truncate(time.Microsecond)
				}
			})
			w.runDialer(p, p.dialer(s))
			placed := w.intent(c.external)
			noError(t, w.bus.PublishJob(within(t), messages.DialJob{Intent: placed}))
			eventually(t, "the dial is settled", func() bool {
				in := w.intent(c.external)
				return in.Status == test.status && (len(w.records()) > 0) == (test.disposition != "") && (len(w.failures()) > 0) == test.parked
			})

			in := w.intent(c.external)
			if in.Outcome != test.outcome || in.HTTPStatus != test.answer.status && !test.expired || in.TriedAt == nil {
				t.Errorf("outcome %q, HTTP %d, tried at %v", in.Outcome, in.HTTPStatus, in.TriedAt)
			}
			posts := 1
			if test.nobody || test.expired {
				posts = 0
			}
			if got := s.posted(c.external); got != posts {
				t.Errorf("%d POSTs, want %d", got, posts)
			}
			if test.disposition != "" {
				r := w.records()[0]
				want := messages.Record{
					Schema: 1, ExternalID: c.external, Revision: 1, Disposition: test.disposition, Status: test.outcome,
					Flow: placed.Flow, FlowHash: placed.FlowHash, Direction: "outbound", To: personNumber, From: ourNumber,
					Contact: placed.Contact, StartedAt: in.TriedAt, EndedAt: in.TriedAt,
				}
				if diff := cmp.Diff(want, r); diff != "" {
					t.Errorf("record (-want +got):\n%s", diff)
				}
			}
			if test.parked {
				if n := p.count("offhook_worker_failures_total", "ambiguous"); n != 1 {
					t.Errorf("%d counted as parked", n)
				}
				if kept := w.wantParked(w.failures()[0], c.external); kept.Outcome != "ambiguous" || kept.HTTPStatus != test.answer.status {
					t.Errorf("parked with outcome %s, HTTP %d", kept.Outcome, kept.HTTPStatus)
				}
			}
			eventually(t, "nothing is due", func() bool { return !w.isDue(c.external) })
			if got := p.count("offhook_dials_total", test.counted); got != 1 || p.count("offhook_dials_total") != 1 {
				t.Errorf("%d of %d dials counted as %s", got, p.count("offhook_dials_total"), test.counted)
			}
		})
	}
}

// runDialer runs the process' consume loop of jobs.
func (w *world) runDialer(p *process, d *worker.Dialer) (stop func()) {
	w.t.Helper()
	return w.run(func(ctx context.Context) error {
		return p.bus.ConsumeJobs(ctx, bus.ConsumerConfig{Slots: 16}, d.Handle)
	})
}

// At most one POST per try: each job is queued three times, and two dialers race.
func TestOnePOSTPerTry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := startTeleSign(t, acceptedAnswer)
	const dials, copies = 40, 3
	var ids []string
	for i := range dials {
		in := w.newIntent() // of a job that alone knows of it
		if i%2 == 0 {
			in = w.intent(w.place().external)
		}
		ids = append(ids, in.ID)
		for range copies {
			noError(t, w.bus.PublishJob(within(t), messages.DialJob{Intent: in}))
		}
	}
	var handled sync.WaitGroup
	handled.Add(dials * copies)
	for range 2 {
		p := w.start(plan{bus: w.connect(w.nats.URL())})
		d := p.dialer(s)
		w.run(func(ctx context.Context) error {
			return p.bus.ConsumeJobs(ctx, bus.ConsumerConfig{Slots: 16}, func(ctx context.Context, j messages.DialJob, attempt int) bus.JobResult {
				defer handled.Done()
				return d.Handle(ctx, j, attempt)
			})
		})
	}
	handled.Wait()
	for _, id := range ids {
		eventually(t, "the dial is accepted", func() bool { return w.intent(id).Status == messages.CallAccepted })
		if n := s.posted(id); n != 1 {
			t.Errorf("intent %s was posted %d times", id, n)
		}
	}
	w.wantNothingDue()
}

// A process that was stopped between ack and POST finds its try too old to be sent:
// the reaper may have given it up since.
func TestATryThatOversleptIsNotSent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := startTeleSign(t, acceptedAnswer)
	c := w.place()
	d := w.start(plan{}).dialer(s)
	d.SendWithin(0)
	result := d.Handle(within(t), messages.DialJob{Intent: w.intent(c.external)}, 1)
	w.dueNow()
	noError(t, w.reaper().Reap(within(t)))
	result.After(within(t))

	if n := s.posted(c.external); n != 0 {
		t.Errorf("%d POSTs", n)
	}
	if in := w.intent(c.external); in.Status != messages.CallRefused || in.Outcome != "expired" {
		t.Errorf("intent is %s, outcome %s", in.Status, in.Outcome)
	}
	if r := w.records(); len(r) != 1 || r[0].Disposition != messages.DispositionExpired {
		t.Errorf("records %+v", r)
	}
	w.wantParked(w.awaitFailures(1)[0], c.external)
	w.wantNothingDue()
}

// Of many dialers with one job, one gets the right to POST.
func TestOneTryPerIntent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	d := w.start(plan{}).dialer(startTeleSign(t, acceptedAnswer))
	job := messages.DialJob{Intent: w.newIntent()}
	start := make(chan struct{})
	results := make([]bus.JobResult, 20)
	var all sync.WaitGroup
	for i := range results {
		all.Go(func() {
			<-start
			results[i] = d.Handle(within(t), job, 1)
		})
	}
	close(start)
	all.Wait()
	tries := 0
	for _, r := range results {
		if r.Result != bus.Done() {
			t.Errorf("%+v", r.Result)
		}
		if r.After != nil {
			tries++
		}
	}
	if tries != 1 {
		t.Errorf("%d tries began", tries)
	}
}

// A job that the store cannot take yet comes again, and so does one of a newer
// version, for a newer worker; one that names no intent never can be dialled.
func TestJobsThatCannotBegin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	st := w.openStore(w.redis)
	s := startTeleSign(t, acceptedAnswer)
	away := w.start(plan{store: st})
	noError(t, st.Close())
	result := away.dialer(s).Handle(within(t), messages.DialJob{Intent: w.newIntent()}, 1)
	wantRetry(t, result.Result)
	if result.After != nil || away.count("offhook_worker_retries_total") != 1 {
		t.Errorf("after %p, %d retries", result.After, away.count("offhook_worker_retries_total"))
	}

	p := w.start(plan{})
	newer := w.newIntent()
	newer.Schema = messages.IntentSchema + 1
	result = p.dialer(s).Handle(within(t), messages.DialJob{Intent: newer}, 1)
	wantRetry(t, result.Result)
	if result.After != nil {
		t.Error("an intent of a newer version would be dialled")
	}

	w.runDialer(p, p.dialer(s))
	noError(t, w.bus.PublishJob(within(t), messages.DialJob{}))
	if f := w.awaitFailures(1)[0]; f.Kind != messages.FailureJob || f.Reason != messages.ReasonRejected {
		t.Errorf("parked as %s %s", f.Kind, f.Reason)
	}
	if n := p.count("offhook_worker_failures_total", "rejected"); n != 1 {
		t.Errorf("%d counted", n)
	}
}

// A dialer that has to stop writes down what it knows: a call that TeleSign took
// stays known, one that was not sent did not ring, one in between may have.
func TestDialerStops(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		stopAt  string
		status  messages.CallStatus
		outcome string
		posts   int
	}{
		{"before the try begins", "begin", messages.CallQueued, "", 0},
		{"before the POST", "post", messages.CallRefused, "not_sent", 0},
		{"while the POST waits for its answer", "answer", messages.CallUnknown, "ambiguous", 1},
		{"before the answer is written down", "write", messages.CallAccepted, "dial_accepted", 1},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := startTeleSign(t, acceptedAnswer)
			ctx, stop := context.WithCancel(within(t))
			defer stop()
			relay, url := w.relayToRedis()
			d := w.start(plan{store: w.openStore(url)}).dialer(s)
			c := w.place()
			gaveUp := make(chan struct{}) // TeleSign does not answer before

			if test.stopAt == "begin" {
				stop()
			}
			result := d.Handle(ctx, messages.DialJob{Intent: w.intent(c.external)}, 1)
			switch test.stopAt {
			case "begin":
				if wantRetry(t, result.Result); result.After != nil {
					t.Error("a POST would follow")
				}
			case "post":
				stop()
			case "answer":
				s.during = func(string) { stop(); <-gaveUp }
			case "write":
				relay.watch(func([]byte) verdict { stop(); return pass })
			}
			if result.After != nil {
				result.After(ctx)
			}
			close(gaveUp)
			in := w.intent(c.external)
			if in.Status != test.status || in.Outcome != test.outcome || s.posted(c.external) != test.posts {
				t.Errorf("intent is %s, outcome %q, %d POSTs; want %s, %q, %d", in.Status, in.Outcome, s.posted(c.external), test.status, test.outcome, test.posts)
			}
			w.wantNothingDue()
		})
	}
}

// An outcome is written down also when the store is away at first, as long as it is
// back in time.
func TestSettlingOutlastsAnOutage(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer answer
		status messages.CallStatus
	}{
		"accepted": {acceptedAnswer, messages.CallAccepted},
		"refused":  {answer{http.StatusBadRequest, `{"status":"invalid_phone_number"}`}, messages.CallRefused},
		"unknown":  {answer{http.StatusBadGateway, ""}, messages.CallUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := startTeleSign(t, test.answer)
			relay, url := w.relayToRedis()
			p := w.start(plan{store: w.openStore(url)})
			c := w.place()
			s.during = func(string) { relay.takeAway() }
			result := p.dialer(s).Handle(within(t), messages.DialJob{Intent: w.intent(c.external)}, 1)
			settled := make(chan struct{})
			go func() {
				defer close(settled)
				result.After(within(t))
			}()
			for range 3 {
				receive(t, "an attempt to write the outcome", relay.refused)
			}
			relay.bringBack()
			receive(t, "the end of settling", settled)
			if in := w.intent(c.external); in.Status != test.status {
				t.Errorf("intent is %s, want %s", in.Status, test.status)
			}
			w.wantNothingDue()
		})
	}
}

// If it is not, the intent stays due, and the reaper makes it unknown.
func TestSettlingGivesUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := startTeleSign(t, acceptedAnswer)
	relay, url := w.relayToRedis()
	var log lockedBuffer
	p := w.start(plan{store: w.openStore(url)})
	c := w.place()
	s.during = func(string) { relay.takeAway() }
	d := p.dialerLogging(s, textLog(&log))
	d.SettleWithin(200*time.Millisecond, time.Millisecond)
	d.Handle(within(t), messages.DialJob{Intent: w.intent(c.external)}, 1).After(context.Background()) // which never ends

	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, c.external) || !strings.Contains(text, "call_id=ACCEPTED") || !strings.Contains(text, "redis is unavailable") {
		t.Errorf("log: %s", text)
	}
	if in := w.intent(c.external); in.Status != messages.CallDialing {
		t.Fatalf("intent is %s", in.Status)
	}
	w.dueNow()
	noError(t, worker.NewReaper(w.store, w.bus, discard).Reap(within(t)))
	w.wantParked(w.awaitFailures(1)[0], c.external)
	w.wantNothingDue()
}

// What waiting does not cure is not waited for.
func TestSettlingAnIntentThatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := startTeleSign(t, acceptedAnswer)
	c := w.place()
	client := w.redisClient()
	defer func() { _ = client.Close() }()
	s.during = func(id string) {
		if err := client.Del(within(t), w.prefix+":intent:{"+messages.Partition(id)+"}:"+id).Err(); err != nil {
			t.Error(err)
		}
	}
	began := time.Now()
	w.start(plan{}).dialer(s).Handle(within(t), messages.DialJob{Intent: w.intent(c.external)}, 1).After(within(t))
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("took %s", took)
	}
}

// Without the server's word that it has the ack, nothing is sent.
func TestNoPOSTWithoutAConfirmedAck(t *testing.T) {
	t.Parallel()
	for name, fate := range map[string]verdict{"the ack is lost": swallow, "its confirmation is lost": loseAnswer, "the connection is lost": loseRequest} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			s := startTeleSign(t, acceptedAnswer)
			relay, url := w.relayToNATS()
			p := w.start(plan{bus: w.connect(url, func(c *bus.Config) { c.Timeout = 500 * time.Millisecond })})
			d := p.dialer(s)
			acked := make(chan struct{}, 8)
			relay.watch(func(sent []byte) verdict {
				if bytes.Contains(sent, []byte("$JS.ACK."+messages.StreamJobs)) {
					acked <- struct{}{}
					return fate
				}
				return pass
			})
			stop := w.runDialer(p, d)
			c := w.place()
			job := messages.DialJob{Intent: w.intent(c.external)}
			noError(t, w.bus.PublishJob(within(t), job))
			receive(t, "the ack", acked)
			stop() // waits for whatever the handler does
			if n := s.posted(c.external); n != 0 {
				t.Errorf("%d POSTs", n)
			}

			// Nobody ever sends it: the copies are dropped, the reaper makes it unknown.
			relay.bringBack()
			if result := d.Handle(within(t), job, 2); result.Result != bus.Done() || result.After != nil {
				t.Errorf("the redelivery: %+v", result)
			}
			if in := w.intent(c.external); in.Status != messages.CallDialing {
				t.Errorf("intent is %s", in.Status)
			}
			w.dueNow()
			noError(t, worker.NewReaper(w.store, w.bus, discard).Reap(within(t)))
			if kept := w.wantParked(w.awaitFailures(1)[0], c.external); kept.Outcome != "no_outcome" {
				t.Errorf("parked with outcome %q", kept.Outcome)
			}
			w.wantNothingDue()
		})
	}
}
