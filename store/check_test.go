package store

import (
	"log/slog"
	"maps"
	"strings"
	"testing"

	"github.com/offhook/offhook/messages"
	"github.com/offhook/offhook/store/redistest"
)

// cannedInfo is the part of INFO that counts, of a Redis 7.0.15 set up as we need it.
const cannedInfo = "# Server\r\nredis_version:7.0.15\r\nredis_git_sha1:00000000\r\nos:Linux 6.1.0 x86_64\r\n\r\n" +
	"# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n\r\n" +
	"# Persistence\r\nloading:0\r\naof_enabled:1\r\n\r\n" +
	"# Replication\r\nrole:master\r\nconnected_slaves:0\r\n\r\n" +
	"# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=1,expires=0,avg_ttl=0\r\n"

func TestCheckInfo(t *testing.T) {
	t.Parallel()
	type fields = map[string]string
	tests := []struct {
		name     string
		change   fields // "-" removes the field
		volatile bool
		want     []string // fields that are refused, in order
	}{
		{name: "as it should be"},
		{name: "oldest Redis", change: fields{"redis_version": "7.0.0"}},
		{name: "Redis 8", change: fields{"redis_version": "8.0.1"}},
		{name: "Redis 10", change: fields{"redis_version": "10.0.1"}},
		{name: "old Redis", change: fields{"redis_version": "6.2.14"}, want: []string{"redis_version"}},
		{name: "no version", change: fields{"redis_version": "-"}, want: []string{"redis_version"}},
		{name: "strange version", change: fields{"redis_version": "unstable"}, want: []string{"redis_version"}},
		{name: "Valkey", change: fields{"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "7.2.8"}},
		{name: "Valkey 8", change: fields{"redis_version": "7.2.4", "server_name": "valkey", "valkey_version": "8.1.0"}},
		{name: "old Valkey", change: fields{"redis_version": "7.2.4", "valkey_version": "7.1.0"}, want: []string{"valkey_version"}},
		{name: "evicts", change: fields{"maxmemory_policy": "allkeys-lru"}, want: []string{"maxmemory_policy"}},
		{name: "evicts what expires", change: fields{"maxmemory_policy": "volatile-ttl"}, want: []string{"maxmemory_policy"}},
		{name: "hides its policy", change: fields{"maxmemory_policy": "-"}, want: []string{"maxmemory_policy"}},
		{name: "evicts, volatile allowed", change: fields{"maxmemory_policy": "allkeys-lru"}, volatile: true, want: []string{"maxmemory_policy"}},
		{name: "no AOF", change: fields{"aof_enabled": "0"}, want: []string{"aof_enabled"}},
		{name: "no AOF, allowed", change: fields{"aof_enabled": "0"}, volatile: true},
		{name: "hides AOF", change: fields{"aof_enabled": "-"}, want: []string{"aof_enabled"}},
		{name: "replica", change: fields{"role": "slave", "master_host": "10.0.0.1", "master_port": "6379"}, want: []string{"role"}},
		{name: "cluster node", change: fields{"cluster_enabled": "1"}, want: []string{"cluster_enabled"}},
		{
			name:   "everything wrong is named at once",
			change: fields{"redis_version": "5.0.3", "maxmemory_policy": "allkeys-lfu", "aof_enabled": "0"},
			want:   []string{"redis_version", "maxmemory_policy", "aof_enabled"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			info := parseInfo(cannedInfo)
			maps.Copy(info, test.change)
			maps.DeleteFunc(info, func(_, value string) bool { return value == "-" })
			err := checkInfo(info, test.volatile)
			if len(test.want) == 0 {
				noError(t, err)
				return
			}
			if err == nil {
				t.Fatalf("accepted, want %v refused", test.want)
			}
			lines := strings.Split(err.Error(), "\n")
			if len(lines) != len(test.want) {
				t.Fatalf("got %q, want %v refused", lines, test.want)
			}
			for i, field := range test.want {
				if !strings.HasPrefix(lines[i], field+": ") {
					t.Errorf("line %d is %q, want it to name %s", i, lines[i], field)
				}
			}
			if code := messages.CodeOf(err); code != messages.CodeUsage {
				t.Errorf("code %s, want usage", code)
			}
		})
	}
}

func TestOpenRefusesRealServers(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		settings []string
		volatile bool
		want     string // "" = accepted
	}{
		{"evicting", []string{"maxmemory", "100mb", "maxmemory-policy", "allkeys-lru"}, true, "set maxmemory-policy noeviction"},
		{"no AOF", []string{"appendonly", "no"}, false, "set appendonly yes"},
		{"no AOF, allowed", []string{"appendonly", "no"}, true, ""},
		{"replica", []string{"replicaof", "127.0.0.1 1"}, false, "give the URL of the master 127.0.0.1:1"},
		{"as it should be", nil, false, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t, test.settings...)
			s, err := Open(t.Context(), Config{URL: server.URL(), AllowVolatile: test.volatile}, slog.New(slog.DiscardHandler))
			if test.want == "" {
				noError(t, err)
				noError(t, s.Check(t.Context()))
				noError(t, s.Close())
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.want) || messages.CodeOf(err) != messages.CodeUsage {
				t.Errorf("got %v, want a usage error that says %q", err, test.want)
			}
		})
	}
}

// The embedded store forgets, and says so.
func TestOpenRefusesEmbeddedUnlessVolatile(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t)
	_, err := Open(t.Context(), Config{URL: e.URL()}, slog.New(slog.DiscardHandler))
	if err == nil || !strings.Contains(err.Error(), "aof_enabled") {
		t.Errorf("got %v, want aof_enabled refused", err)
	}
}
