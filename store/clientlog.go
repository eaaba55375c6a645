package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/redis/go-redis/v9"
)

// LogClient sends what the Redis client says by itself to log, at debug level:
// every failure in it also reaches a caller of this package as an error. The client
// has one logger per process and writes to stderr without this, so main calls it,
// once.
func LogClient(log *slog.Logger) { redis.SetLogger(clientLog{log}) }

type clientLog struct{ log *slog.Logger }

func (c clientLog) Printf(ctx context.Context, format string, args ...any) {
	if c.log.Enabled(ctx, slog.LevelDebug) {
		c.log.DebugContext(ctx, "redis client", "says", fmt.Sprintf(format, args...))
	}
}
