package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/messages/bus"
)

// The naive pipe's stream, its consumer, and the header that says where the reply
// goes. The stream and the consumer are copies of offhook's, by another name.
const (
	naiveStream   = "NAIVE_EVENTS"
	naiveSubjects = "naive.events.*"
	naiveSubject  = "naive.events."
	naiveConsumer = "naive"

	headerReplyTo = "Naive-Reply-To"
	headerCall    = "Naive-Call"
)

// setUpNaive copies offhook's events stream and its consumer, which must exist.
func setUpNaive(ctx context.Context, js jetstream.JetStream) (jetstream.Consumer, error) {
	stream, err := js.Stream(ctx, messages.StreamEvents)
	if err != nil {
		return nil, fmt.Errorf("the stream %s: %w", messages.StreamEvents, err)
	}
	consumer, err := stream.Consumer(ctx, messages.ConsumerEvents)
	if err != nil {
		return nil, fmt.Errorf("the consumer %s: %w", messages.ConsumerEvents, err)
	}
	copied := stream.CachedInfo().Config
	copied.Name, copied.Subjects, copied.Metadata = naiveStream, []string{naiveSubjects}, nil
	if _, err := js.CreateStream(ctx, copied); err != nil {
		return nil, fmt.Errorf("create the stream %s: %w", naiveStream, err)
	}
	settings := consumer.CachedInfo().Config
	settings.Durable, settings.Name, settings.FilterSubject, settings.FilterSubjects, settings.Metadata = naiveConsumer, naiveConsumer, naiveSubjects, nil, nil
	c, err := js.CreateConsumer(ctx, naiveStream, settings)
	if err != nil {
		return nil, fmt.Errorf("create the consumer %s: %w", naiveConsumer, err)
	}
	return c, nil
}

func connectNATS(url string) (*nats.Conn, jetstream.JetStream, error) {
	nc, err := nats.Connect(url, nats.ReconnectBufSize(-1))
	if err != nil {
		return nil, nil, fmt.Errorf("connect to NATS: %w", err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		nc.Close()
		return nil, nil, fmt.Errorf("JetStream: %w", err)
	}
	return nc, js, nil
}

// NaiveIngress is the door of the naive pipe: it publishes each event, waits for
// the stream's acknowledgement and for the reply, and answers with the reply.
func NaiveIngress(ctx context.Context, natsURL string, log *slog.Logger) error {
	nc, _, err := connectNATS(natsURL)
	if err != nil {
		return err
	}
	defer nc.Close()
	in := &naiveInbox{prefix: nats.NewInbox() + ".", waits: make(map[string]*naiveWait)}
	if _, err := nc.Subscribe(in.prefix+">", in.receive); err != nil {
		return fmt.Errorf("subscribe to the inbox: %w", err)
	}
	if err := nc.Flush(); err != nil {
		return fmt.Errorf("subscribe to the inbox: %w", err)
	}
	return serve(ctx, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := in.ask(nc, r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		writeAnswer(w, answer)
	}), log)
}

// naiveInbox hears all acknowledgements and replies on one subscription, as the bus
// does.
type naiveInbox struct {
	prefix string

	mu    sync.Mutex
	next  uint64
	waits map[string]*naiveWait
}

type naiveWait struct {
	stored chan error
	reply  chan []byte
}

func (in *naiveInbox) ask(nc *nats.Conn, r *http.Request) ([]byte, error) {
	event, body, err := readEvent(r)
	if err != nil {
		return nil, err
	}
	w := &naiveWait{make(chan error, 1), make(chan []byte, 1)}
	in.mu.Lock()
	in.next++
	token := fmt.Sprint(in.next)
	in.waits[token] = w
	in.mu.Unlock()
	defer func() {
		in.mu.Lock()
		defer in.mu.Unlock()
		delete(in.waits, token)
	}()
	err = nc.PublishMsg(&nats.Msg{
		Subject: naiveSubject + messages.Partition(event.ReferenceID),
		Reply:   in.prefix + "stored." + token,
		Header:  nats.Header{headerReplyTo: {in.prefix + "reply." + token}, headerCall: {event.ReferenceID}},
		Data:    body,
	})
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(exchangeWithin)
	defer timer.Stop()
	var answer []byte
	for stored := w.stored; stored != nil || answer == nil; {
		select {
		case err := <-stored:
			if err != nil {
				return nil, err
			}
			stored = nil
		case answer = <-w.reply:
		case <-timer.C:
			return nil, errors.New("no acknowledgement or no reply in time")
		}
	}
	return answer, nil
}

func (in *naiveInbox) receive(m *nats.Msg) {
	kind, token, _ := strings.Cut(strings.TrimPrefix(m.Subject, in.prefix), ".")
	in.mu.Lock()
	w := in.waits[token]
	in.mu.Unlock()
	if w == nil {
		return
	}
	if kind == "reply" {
		w.reply <- m.Data
		return
	}
	var err error
	if !strings.HasPrefix(string(m.Data), `{"stream":`) {
		err = fmt.Errorf("not stored: %.200s", m.Data)
	}
	w.stored <- err
}

// naiveScript changes a small state: a counter and what was last seen.
var naiveScript = redis.NewScript(`
redis.call('HSET', KEYS[1], 'last', ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return redis.call('HINCRBY', KEYS[1], 'count', 1)`)

// naiveState is the state's size in bytes, as little as one would ever keep.
const naiveState = 100

// naiveRetention is how long a call's state is kept, as by default.
const naiveRetention = 7 * 24 * time.Hour

// naivePulls is how many pulls the naive worker keeps open, as the bus does.
const naivePulls = 2

// naiveRedis are the store's settings of the client.
func naiveRedis(url string) (*redis.Options, error) {
	o, err := redis.ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("the URL of Redis: %w", err)
	}
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = 500*time.Millisecond, 700*time.Millisecond, 700*time.Millisecond, 500*time.Millisecond
	o.PoolSize, o.MinIdleConns, o.MaxRetries, o.DialerRetries = 64, 2, -1, 1
	o.ContextTimeoutEnabled = true
	o.PipelinePoolSize = -1
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o, nil
}

// NaiveWorker is the other end of the naive pipe: for each event one script, one
// reply, one ack, as many at once as an offhook worker has slots. It creates the
// pipe's stream.
func NaiveWorker(ctx context.Context, natsURL, redisURL string, log *slog.Logger) error {
	nc, js, err := connectNATS(natsURL)
	if err != nil {
		return err
	}
	defer nc.Close()
	options, err := naiveRedis(redisURL)
	if err != nil {
		return err
	}
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	consumer, err := setUpNaive(ctx, js)
	if err != nil {
		return err
	}
	settings := consumer.CachedInfo().Config
	slots := make(chan struct{}, bus.ConsumerConfig{}.WithDefaults().Slots)
	w := &naiveWorker{nc: nc, client: client, retention: naiveRetention, log: log}
	log.Info(readyMessage)
	var pulls, handlers sync.WaitGroup
	defer handlers.Wait()
	defer pulls.Wait()
	for range naivePulls {
		pulls.Go(func() {
			for ctx.Err() == nil {
				n := reserve(slots, settings.MaxRequestBatch)
				batch, err := consumer.Fetch(n, jetstream.FetchMaxWait(settings.MaxRequestExpires))
				if err != nil {
					log.Error("a pull failed", "error", err)
					release(slots, n)
					return
				}
				used := 0
				for m := range batch.Messages() {
					used++
					handlers.Go(func() {
						defer release(slots, 1)
						w.handle(context.WithoutCancel(ctx), m)
					})
				}
				release(slots, n-used)
			}
		})
	}
	<-ctx.Done()
	return nil
}

// reserve waits for a slot and takes as many as are free, up to most.
func reserve(slots chan struct{}, most int) int {
	slots <- struct{}{}
	n := 1
	for n < most {
		select {
		case slots <- struct{}{}:
			n++
		default:
			return n
		}
	}
	return n
}

func release(slots chan struct{}, n int) {
	for range n {
		<-slots
	}
}

type naiveWorker struct {
	nc        *nats.Conn
	client    *redis.Client
	retention time.Duration
	log       *slog.Logger
}

// handle leaves what fails unanswered: the load generator ends the run then.
func (w *naiveWorker) handle(ctx context.Context, m jetstream.Msg) {
	ctx, cancel := context.WithTimeout(ctx, exchangeWithin)
	defer cancel()
	h, state := m.Headers(), m.Data()
	state = state[:min(len(state), naiveState)]
	err := naiveScript.Run(ctx, w.client, []string{"naive:call:{" + h.Get(headerCall) + "}"}, state, w.retention.Milliseconds()).Err()
	if err == nil {
		err = w.nc.Publish(h.Get(headerReplyTo), fixedAnswer)
	}
	if err == nil {
		err = m.Ack()
	}
	if err != nil {
		w.log.Error("an event was not handled", "error", err)
	}
}
