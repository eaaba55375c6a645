package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/offhook/offhook/messages"
)

// Check refuses a server that cannot keep our promises: Redis before 7.0 or Valkey
// before 7.2, a replica, a node of a cluster, an eviction policy, and no AOF unless
// Config.AllowVolatile. It needs only INFO, which managed servers allow. The error
// names every such setting and its fix, with CodeUsage.
func (s *Store) Check(ctx context.Context) error {
	text, err := s.client.Info(ctx).Result()
	if err != nil {
		return s.fail("INFO", err)
	}
	if err := checkInfo(parseInfo(text), s.config.AllowVolatile); err != nil {
		return fmt.Errorf("checking Redis at %s: %w", s.address, err)
	}
	return nil
}

// parseInfo reads the name:value lines of INFO.
func parseInfo(text string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info
}

// checkInfo judges a server by its INFO. A field that is missing counts as wrong:
// what cannot be seen cannot be promised.
func checkInfo(info map[string]string, allowVolatile bool) error {
	var wrong []error
	refuse := func(field, format string, args ...any) {
		wrong = append(wrong, messages.FieldErrorf(messages.CodeUsage, field, format, args...))
	}
	if v, ok := info["valkey_version"]; ok {
		if !atLeast(v, 7, 2) {
			refuse("valkey_version", "%q is too old: use Valkey 7.2 or later", v)
		}
	} else if v := info["redis_version"]; !atLeast(v, 7, 0) {
		refuse("redis_version", "%q is too old: use Redis 7.0 or later, or Valkey 7.2 or later", v)
	}
	if role := info["role"]; role == "slave" {
		refuse("role", "%q: a replica refuses writes: give the URL of the master %s:%s", role, info["master_host"], info["master_port"])
	}
	if info["cluster_enabled"] == "1" {
		refuse("cluster_enabled", `"1": the URL names one node of a cluster, which holds only its part of the keys: use a server that is not in cluster mode`)
	}
	if policy := info["maxmemory_policy"]; policy != "noeviction" {
		refuse("maxmemory_policy", "%q may evict calls that are live: set maxmemory-policy noeviction", policy)
	}
	if aof := info["aof_enabled"]; aof != "1" && !allowVolatile {
		refuse("aof_enabled", "%q: this Redis forgets calls and dials when it stops: set appendonly yes, or accept the loss with --allow-volatile-redis", aof)
	}
	return errors.Join(wrong...)
}

// atLeast compares the first two numbers of a dotted version.
func atLeast(version string, major, minor int) bool {
	first, rest, _ := strings.Cut(version, ".")
	second, _, _ := strings.Cut(rest, ".")
	x, errX := strconv.Atoi(first)
	y, errY := strconv.Atoi(second)
	return errX == nil && errY == nil && (x > major || x == major && y >= minor)
}
