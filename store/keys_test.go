package store

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/offhook/offhook/messages"
)

// Every write there is leaves only keys of the table in keys.go: of the pattern,
// type and TTL that it says.
func TestEveryKeyIsInTheTable(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		noError(t, s.CommitCall(ctx, "c", Commit{State: []byte("s"), Log: entries("a")}))
		noError(t, s.CommitCall(ctx, "c", Commit{Expect: 1, State: []byte("s"), Log: entries("a"), RewriteLog: true}))
		create(true)(t, s, newIntent("queued"))
		begin(true)(t, s, newIntent("dialing"))
		begin(true)(t, s, newIntent("unknown"))
		resolve(messages.CallUnknown, 0, "timeout", "")(t, s, newIntent("unknown"))
		begin(true)(t, s, newIntent("claimed"))
		claim("c", true)(t, s, newIntent("claimed"))
		noError(t, s.PutFlow(ctx, "survey", "h1", []byte("x")))
		_, err := s.Flow(ctx, "h1")
		noError(t, err)

		table := []struct{ pattern, kind string }{
			{`:call:\{[^{}]+\}`, "list"},
			{`:intent:\{\d\d\}:oh-[0-9a-f]{32}`, "hash"},
			{`:due:\{\d\d\}`, "zset"},
			{`:flow:\{flows\}:[^{}:]+`, "string"},
			{`:names:\{flows\}`, "hash"},
		}
		found := make([]bool, len(table))
		for _, key := range keysOf(t, s) {
			row := -1
			for i, entry := range table {
				if regexp.MustCompile("^" + s.config.Prefix + entry.pattern + "$").MatchString(key) {
					row = i
				}
			}
			if row < 0 {
				t.Errorf("key %q is of no pattern in the table", key)
				continue
			}
			found[row] = true
			kind, err := s.client.Type(ctx, key).Result()
			noError(t, err)
			if kind != table[row].kind {
				t.Errorf("key %q is a %s, want a %s", key, kind, table[row].kind)
			}
			if left := ttl(t, s, key); left < s.config.CallRetention-time.Minute {
				t.Errorf("key %q expires in %s, want at least the retention", key, left)
			}
		}
		for i, ok := range found {
			if !ok {
				t.Errorf("no key of pattern %s was written", table[i].pattern)
			}
		}
	})
}

func TestPlain(t *testing.T) {
	t.Parallel()
	for id, want := range map[string]string{
		"BC96D7B0D1800164898350B4E71B005C":     "BC96D7B0D1800164898350B4E71B005C",
		"534e1848-235f-482d-983d-e3e11a04f58a": "534e1848-235f-482d-983d-e3e11a04f58a",
		messages.IntentID("k"):                 messages.IntentID("k"),
		strings.Repeat("x", 64):                strings.Repeat("x", 64),
		strings.Repeat("x", 65):                "~9537c5fdf120482f7d58d25e9ed583f5",
		"":                                     "~e3b0c44298fc1c149afbf4c8996fb924",
		"{a}":                                  "~4cb4ecab73a9e8a1b8d6b19a2e2ac1b9",
	} {
		got := plain(id)
		if strings.HasPrefix(want, "~") {
			if !regexp.MustCompile(`^~[0-9a-f]{32}$`).MatchString(got) {
				t.Errorf("plain(%.20q) is %q, want a digest", id, got)
			}
		} else if got != want {
			t.Errorf("plain(%q) is %q", id, got)
		}
	}
	if plain("{a}") == plain("{b}") {
		t.Error("two ids share a digest")
	}
}

// A script that touches two slots, or a key it did not declare, fails in a cluster
// only: so both are read off here.
func TestScriptsDeclareTheirKeys(t *testing.T) {
	t.Parallel()
	declaration := regexp.MustCompile(`(?m)^local ([a-z_, ]+) = (KEYS\[\d\](?:, KEYS\[\d\])*)$`)
	access := regexp.MustCompile(`redis\.p?call\('([A-Z]+)'(?:, ([^,)]+))?`)
	texts := scripts(t)
	if len(texts) != 5 {
		t.Errorf("%d scripts, want 5", len(texts))
	}
	for name, text := range texts {
		match := declaration.FindStringSubmatch(text)
		if match == nil {
			t.Errorf("%s: its keys are not renamed to locals", name)
			continue
		}
		declared := make(map[string]bool)
		for key := range strings.SplitSeq(match[1], ", ") {
			declared[key] = true
		}
		code := strings.Replace(text, match[0], "", 1)
		for _, call := range access.FindAllStringSubmatch(code, -1) {
			if call[1] != "TIME" && !declared[call[2]] {
				t.Errorf("%s: %s touches %s, which is not declared", name, call[1], call[2])
			}
		}
		for line := range strings.Lines(code) {
			if !strings.HasPrefix(line, "--") && strings.Contains(line, "KEYS[") {
				t.Errorf("%s: KEYS is used outside its declaration: %s", name, line)
			}
		}
		for _, part := range []string{"-- KEYS", "-- ARGV", "-- Returns", "-- Invariants"} {
			if !strings.Contains(text, part) {
				t.Errorf("%s: its header lacks %q", name, part)
			}
		}
		if strings.Contains(text, "cjson") {
			t.Errorf("%s: cjson changes large numbers", name)
		}
	}
}

func TestKeysOfOneScriptShareATag(t *testing.T) {
	t.Parallel()
	tag := regexp.MustCompile(`\{([^{}]+)\}`)
	s := &Store{keys: keys{"offhook"}}
	for _, id := range []string{"", "a", "{x}y", "}{", messages.IntentID("k"), strings.Repeat("é", 300)} {
		var tags []string
		for _, key := range s.intentKeys(id) {
			found := tag.FindStringSubmatch(key)
			if found == nil || strings.Index(key, "{") != strings.Index(key, found[0]) {
				t.Fatalf("key %q has no plain hash tag", key)
			}
			tags = append(tags, found[1])
		}
		if tags[0] != tags[1] {
			t.Errorf("intent %q: tags %q differ", id, tags)
		}
	}
}
