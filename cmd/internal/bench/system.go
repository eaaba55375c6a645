package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/offhook/offhook/deploy/examples"
	"github.com/offhook/offhook/messages"
)

// Part is one of the processes that only a run needs. It is started by the hidden
// command PartCommand with a Part as JSON.
type Part struct {
	Name  string `json:"name"`
	NATS  string `json:"nats,omitempty"`
	Redis string `json:"redis,omitempty"`
	Dir   string `json:"dir,omitempty"`
	Sync  Sync   `json:"sync,omitempty"`

	// Command, for PartProfiled, is the offhook command to run under the profiler.
	Command []string `json:"command,omitempty"`
}

// PartCommand is the hidden command that runs a Part.
const PartCommand = "bench-part"

// The parts.
const (
	PartLoad         = "load"
	PartNATS         = "nats"
	PartBare         = "bare"
	PartNaiveIngress = "naive-ingress"
	PartNaiveWorker  = "naive-worker"
	PartProfiled     = "profiled"
)

// What the roles log when they are ready.
const (
	listeningMessage = "webhook listening"
	takingMessage    = "webhook: taking events"
	startedMessage   = "started"
)

// The names of the rows.
const (
	rowBare    = "bare-http"
	rowNaive   = "naive-pipe"
	rowOffhook = "offhook"
)

// The columns of CPU time.
const (
	columnIngress = "ingress"
	columnWorker  = "worker"
	columnNATS    = "nats"
	columnRedis   = "redis"
	columnLoad    = "load"
)

var columns = []string{columnIngress, columnWorker, columnNATS, columnRedis, columnLoad}

// subject is one row while it is measured.
type subject struct {
	name  string
	host  string
	fixed bool
	parts map[string]*process // by column
}

// system is everything that runs.
type system struct {
	cfg       Config
	dir       string
	environ   []string
	processes *processes
	generator *generator
	redisURL  string
	subjects  []subject
}

// start starts everything; what has been started is in s.processes also when it
// fails.
func (s *system) start(ctx context.Context) error {
	for _, v := range s.cfg.Environ {
		if !strings.HasPrefix(v, "OFFHOOK_") {
			s.environ = append(s.environ, v)
		}
	}
	flow := filepath.Join(s.dir, examples.VisitSurveyName)
	if err := os.WriteFile(flow, examples.VisitSurvey, 0o600); err != nil {
		return fmt.Errorf("write the example survey: %w", err)
	}
	redis, redisURL, err := s.startRedis(ctx, "redis", redisSettings(s.cfg.Sync))
	if err != nil {
		return err
	}
	s.redisURL = redisURL
	var natsURL string
	nats, err := s.part(ctx, Part{Name: PartNATS, Dir: filepath.Join(s.dir, "nats"), Sync: s.cfg.Sync}, &natsURL)
	if err != nil {
		return err
	}
	engines := []string{"OFFHOOK_NATS_URL=" + natsURL, "OFFHOOK_REDIS_URL=" + redisURL}
	worker, err := s.role(ctx, engines, startedMessage, nil, "worker", "--flow", flow, "--incoming", "visit-survey")
	if err != nil {
		return err
	}
	account := []string{"OFFHOOK_CUSTOMER_ID=" + customerID, "OFFHOOK_API_KEY=" + apiKey, "OFFHOOK_LISTEN=127.0.0.1:0"}
	var ingressURL, naiveURL, bareURL string
	ingress, err := s.role(ctx, append(account, engines[0]), takingMessage, &ingressURL, "ingress")
	if err != nil {
		return err
	}
	naiveWorker, err := s.part(ctx, Part{Name: PartNaiveWorker, NATS: natsURL, Redis: redisURL}, nil)
	if err != nil {
		return err
	}
	naiveIngress, err := s.part(ctx, Part{Name: PartNaiveIngress, NATS: natsURL}, &naiveURL)
	if err != nil {
		return err
	}
	bare, err := s.part(ctx, Part{Name: PartBare}, &bareURL)
	if err != nil {
		return err
	}
	load, err := s.processes.start(ctx, command{name: PartLoad, argv: s.argv(Part{Name: PartLoad}), env: s.environ, dir: s.dir, talks: true})
	if err != nil {
		return err
	}
	s.generator = newGenerator(load)
	s.subjects = []subject{
		{rowBare, host(bareURL), true, map[string]*process{columnIngress: bare, columnLoad: load}},
		{rowNaive, host(naiveURL), true, map[string]*process{columnIngress: naiveIngress, columnWorker: naiveWorker, columnNATS: nats, columnRedis: redis, columnLoad: load}},
		{rowOffhook, host(ingressURL), false, map[string]*process{columnIngress: ingress, columnWorker: worker, columnNATS: nats, columnRedis: redis, columnLoad: load}},
	}
	return nil
}

// part starts one of our own parts and waits until it is ready.
func (s *system) part(ctx context.Context, p Part, url *string) (*process, error) {
	return s.processes.start(ctx, command{name: p.Name, argv: s.argv(p), env: s.environ, dir: s.dir, isReady: logged(readyMessage, url)})
}

// argv is how a part is started.
func (s *system) argv(p Part) []string {
	if s.cfg.Profile != "" && p.Name != PartProfiled && p.Name != PartLoad {
		return s.profiled(p.Name, PartCommand, encode(p))
	}
	return append(append([]string{}, s.cfg.Program...), PartCommand, encode(p))
}

func (s *system) profiled(name string, args ...string) []string {
	p := Part{Name: PartProfiled, Dir: filepath.Join(s.cfg.Profile, name), Command: args}
	return append(append([]string{}, s.cfg.Program...), PartCommand, encode(p))
}

func encode(p Part) string {
	text, err := json.Marshal(p)
	if err != nil {
		return "" // not reached: a Part holds only text
	}
	return string(text)
}

// role starts offhook in one of its roles.
func (s *system) role(ctx context.Context, env []string, message string, url *string, args ...string) (*process, error) {
	argv := append(append([]string{}, s.cfg.Program...), args...)
	if s.cfg.Profile != "" {
		argv = s.profiled(args[0], args...)
	}
	dir := filepath.Join(s.dir, args[0])
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make a directory for the %s: %w", args[0], err)
	}
	env = append(append(env, "OFFHOOK_LOG_FORMAT=json", "OFFHOOK_INTERNAL_LISTEN=127.0.0.1:0", "OFFHOOK_LAME_DUCK=0s"), s.environ...)
	return s.processes.start(ctx, command{name: args[0], argv: argv, env: env, dir: dir, isReady: logged(message, url)})
}

// host is the host and port of a url.
func host(url string) string {
	h, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	return h
}

// measure runs one round of one row.
func (s *system) measure(ctx context.Context, row subject) (round, error) {
	before, after := map[string]int64{}, map[string]int64{}
	read := func(into map[string]int64) func() error {
		return func() error {
			for column, p := range row.parts {
				t, err := cpuTime(p.pid())
				if err != nil {
					return err
				}
				into[column] = t.Microseconds()
			}
			return nil
		}
	}
	o := order{Host: row.host, Connections: s.cfg.Connections, WarmUp: s.cfg.warmUp(), Duration: s.cfg.Duration, Fixed: row.fixed}
	r, err := s.generator.run(ctx, o, read(before), read(after))
	if err != nil {
		if failed := s.processes.failures(); failed != nil {
			err = fmt.Errorf("%w; %w", err, failed)
		}
		return round{}, messages.Errorf(messages.CodeOf(err), "%s: %w", row.name, err)
	}
	got := round{report: r, cpu: make(map[string]float64, len(columns))}
	for column := range row.parts {
		got.cpu[column] = float64(after[column]-before[column]) / float64(r.Answers)
	}
	return got, nil
}

// round is what one round of one row came to.
type round struct {
	report
	cpu map[string]float64 // µs per answer, by column
}
