package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/offhook/offhook/messages"
)

// ErrConflict says that what is stored is not what the caller assumed: load again
// and decide again. It is wrapped in a messages.Error of CodeConflict.
var ErrConflict = errors.New("conflicts with what is stored")

// ErrUnavailable says that Redis cannot do its work now. It is wrapped in a
// messages.Error of CodeUnavailable, with the cause beside it. Whether a write was
// done is then unknown.
var ErrUnavailable = errors.New("redis is unavailable")

// Store is a connection to Redis. It is safe for concurrent use.
type Store struct {
	client  redis.UniversalClient
	batch   batch  // of what every event needs: LoadCall, CommitCall
	address string // host and port or socket, for messages
	config  Config
	keys    keys
}

// Open connects, trying again with backoff until ctx ends, and then checks the
// server as Check does. Refused credentials are not tried again. Each failed
// attempt is logged.
func Open(ctx context.Context, cfg Config, log *slog.Logger) (*Store, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	o, err := cfg.options()
	if err != nil {
		return nil, err
	}
	client := redis.NewClient(tuned(o))
	s := &Store{client: client, batch: batch{client: client}, address: o.Addr, config: cfg, keys: keys{cfg.Prefix}}
	if err := s.connect(ctx, log); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.Check(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// tuned fills what the URL left open with this package's limits.
func tuned(o *redis.Options) *redis.Options {
	orDuration := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	orInt := func(i *int, v int) {
		if *i == 0 {
			*i = v
		}
	}
	orDuration(&o.DialTimeout, dialTimeout)
	orDuration(&o.ReadTimeout, readTimeout)
	orDuration(&o.WriteTimeout, writeTimeout)
	orDuration(&o.PoolTimeout, poolTimeout)
	orInt(&o.PoolSize, poolSize)
	orInt(&o.MinIdleConns, minIdle)
	orInt(&o.MaxRetries, noRetries)
	orInt(&o.DialerRetries, dialAttempts)
	// The caller's deadline, e.g. what is left of an answer window, ends a round
	// trip that is under way; by default go-redis would wait for ReadTimeout.
	o.ContextTimeoutEnabled = true
	// Few pipelines are under way at once (see batch): no second pool with large buffers.
	o.PipelinePoolSize = -1
	// Two round trips less per new connection; both are for Redis' own cloud.
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// connect waits for the first PING that succeeds.
func (s *Store) connect(ctx context.Context, log *slog.Logger) error {
	policy := backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(100*time.Millisecond),
		backoff.WithMaxInterval(2*time.Second),
		backoff.WithMaxElapsedTime(0), // ctx ends it
	)
	var last error // that Redis is to blame for, not the end of ctx
	err := backoff.RetryNotify(func() error {
		err := s.client.Ping(ctx).Err()
		if last == nil || ctx.Err() == nil {
			last = err
		}
		if credentialsRefused(err) {
			return backoff.Permanent(err)
		}
		return err //nolint:wrapcheck // what RetryNotify returns is wrapped below
	}, backoff.WithContext(policy, ctx), func(err error, wait time.Duration) {
		log.Warn("Redis cannot be used yet; trying again", "address", s.address, "error", err, "wait", wait)
	})
	switch {
	case err == nil:
		return nil
	case credentialsRefused(last):
		return messages.FieldErrorf(messages.CodeUsage, "URL", "Redis at %s refused the user or password in it: %w", s.address, last)
	}
	return s.fail("connecting", last)
}

// Ready reports whether Redis answers now: one PING.
func (s *Store) Ready(ctx context.Context) error {
	if err := s.client.Ping(ctx).Err(); err != nil {
		return s.fail("ping", err)
	}
	return nil
}

// Close ends all connections. Calls under way fail.
func (s *Store) Close() error {
	if err := s.batch.close(); err != nil {
		return fmt.Errorf("closing the connections to Redis at %s: %w", s.address, err)
	}
	return nil
}

// fail is the error of an operation that Redis did not carry out. What a server
// says about our own commands and keys is a defect (CodeInternal); everything
// else, from a refused connection to a full memory, may pass.
func (s *Store) fail(operation string, err error) error {
	if defect(err) {
		return messages.Errorf(messages.CodeInternal, "Redis at %s, %s: %w", s.address, operation, err)
	}
	cause := fmt.Errorf("%w: %w", ErrUnavailable, err)
	return &messages.Error{
		Code:    messages.CodeUnavailable,
		Message: fmt.Sprintf("Redis at %s, %s: %v", s.address, operation, cause),
		Err:     cause,
	}
}

// defect tells a server's complaint about a command from one about its own state.
func defect(err error) bool {
	var reply redis.Error
	if !errors.As(err, &reply) || redis.IsMaxClientsError(err) {
		return false
	}
	text := reply.Error()
	return strings.HasPrefix(text, "ERR ") || strings.HasPrefix(text, "WRONGTYPE ") || strings.HasPrefix(text, "CROSSSLOT ")
}

// credentialsRefused is about what only another URL can cure.
func credentialsRefused(err error) bool {
	return err != nil && (redis.IsAuthError(err) || redis.IsPermissionError(err))
}
