package bench

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/offhook/offhook/messages"
)

// NATS is a nats-server with deploy/nats.conf's settings on a free port, until ctx
// ends. It is no embedded.Server: that one never syncs before it acknowledges.
func NATS(ctx context.Context, dir string, sync Sync, log *slog.Logger) error {
	ns, err := server.NewServer(&server.Options{
		ServerName: "offhook-bench",
		Host:       "127.0.0.1",
		Port:       server.RANDOM_PORT,
		JetStream:  true,
		StoreDir:   dir,
		SyncAlways: sync == SyncAlways,
		NoLog:      true,
		NoSigs:     true, // the process has its own
	})
	if err != nil {
		return fmt.Errorf("nats-server: %w", err)
	}
	ns.Start()
	defer ns.WaitForShutdown()
	defer ns.Shutdown()
	if !ns.ReadyForConnections(startWithin) || !ns.JetStreamEnabled() {
		return errors.New("nats-server: JetStream did not start")
	}
	log.Info(readyMessage, "url", ns.ClientURL())
	<-ctx.Done()
	return nil
}

// redisSettings are those of deploy/redis.conf, without its limit on memory.
func redisSettings(sync Sync) []string {
	fsync := "always"
	if sync == SyncLater {
		fsync = "everysec"
	}
	return []string{
		"--bind", "127.0.0.1", "--save", "", "--appendonly", "yes", "--appendfsync", fsync,
		"--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction",
	}
}

// startRedis starts a redis-server with a directory of its own and returns it with
// its URL.
func (s *system) startRedis(ctx context.Context, name string, settings []string) (*process, string, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, "", messages.Errorf(messages.CodeUnavailable, "redis-server is missing: install it (Debian: redis-server); make bench does")
	}
	dir := filepath.Join(s.dir, name)
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, "", fmt.Errorf("make a directory for %s: %w", name, err)
	}
	// redis-server takes no port 0 for any: a port that was free a moment ago may be
	// taken.
	for attempts := 5; ; attempts-- {
		port, err := freePort(ctx)
		if err != nil {
			return nil, "", err
		}
		p, err := s.processes.start(ctx, command{
			name: name, dir: dir, env: s.environ,
			argv: append([]string{path, "--port", port, "--dir", dir}, settings...),
			isReady: func(line string) bool { // "… is now ready to accept connections …", "Ready to accept …"
				return strings.Contains(line, "eady to accept connections")
			},
		})
		if err == nil || attempts == 1 || ctx.Err() != nil {
			return p, "redis://127.0.0.1:" + port, err
		}
	}
}

func freePort(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	_, port, err := net.SplitHostPort(ln.Addr().String())
	return port, errors.Join(err, ln.Close())
}
