package store

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
)

// Embedded is a substitute for Redis inside this process, for dev and demo. It
// keeps everything in memory and forgets it at the end; Open accepts it only with
// Config.AllowVolatile. It listens on a free port of 127.0.0.1 and asks for a
// password, so that other users of the machine stay out.
type Embedded struct {
	redis    *miniredis.Miniredis
	password string
	close    sync.Once
}

// embeddedTick is how often keys age. A pass visits every key (30 ms for 50,000), so
// with many keys it comes less often: it may take one part in embeddedShare of the
// time.
const (
	embeddedTick  = 100 * time.Millisecond
	embeddedShare = 20
)

// embeddedInfo is what the substitute says of itself. It knows no INFO of its own
// that Check could judge.
const embeddedInfo = `# Server
redis_version:7.0.0
server_name:offhook-embedded
# Memory
maxmemory_policy:noeviction
# Persistence
aof_enabled:0
# Replication
role:master
# Cluster
cluster_enabled:0
`

// StartEmbedded starts listening. The caller owns the result: it must call Run, or
// Close.
func StartEmbedded() (*Embedded, error) {
	e := &Embedded{redis: miniredis.NewMiniRedis(), password: rand.Text()}
	e.redis.RequireAuth(e.password)
	if err := e.redis.Start(); err != nil {
		return nil, fmt.Errorf("starting the embedded store: %w", err)
	}
	e.redis.Server().SetPreHook(func(c *server.Peer, command string, _ ...string) bool {
		if !strings.EqualFold(command, "INFO") {
			return false
		}
		c.WriteBulk(strings.ReplaceAll(embeddedInfo, "\n", "\r\n"))
		return true
	})
	return e, nil
}

// URL is what Config.URL has to be. It holds the password.
func (e *Embedded) URL() string { return "redis://:" + e.password + "@" + e.redis.Addr() }

// Run lets time pass until ctx ends, then stops the server: without it no key
// expires. (Its clock for due times is the wall clock and needs no help.) The
// substitute could also age its keys by itself, but would then visit every key on
// every command.
func (e *Embedded) Run(ctx context.Context) error {
	defer e.Close()
	timer := time.NewTimer(embeddedTick)
	defer timer.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
			now := time.Now()
			e.redis.FastForward(now.Sub(last))
			last = now
			timer.Reset(max(embeddedTick, embeddedShare*time.Since(now)))
		}
	}
}

// Close stops the server and ends its connections. Closing twice, or after Run,
// does nothing.
func (e *Embedded) Close() { e.close.Do(e.redis.Close) }
