package store

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/offhook/offhook/messages"
)

func TestFlows(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		wantFlows := func(want map[string]string) {
			t.Helper()
			got, err := s.Flows(ctx)
			noError(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("flows (-want +got):\n%s", diff)
			}
		}
		wantSource := func(hash, want string) {
			t.Helper()
			got, err := s.Flow(ctx, hash)
			noError(t, err)
			if !bytes.Equal(got, []byte(want)) {
				t.Errorf("flow %s is %q, want %q", hash, got, want)
			}
		}
		wantFlows(map[string]string{})
		for name, lookUp := range map[string]func() error{
			"source": func() error { _, err := s.Flow(ctx, "h1"); return err },
			"name":   func() error { _, err := s.FlowHash(ctx, "survey"); return err },
		} {
			if err := lookUp(); messages.CodeOf(err) != messages.CodeNotFound {
				t.Errorf("%s of a flow nobody has put: %v", name, err)
			}
		}

		noError(t, s.PutFlow(ctx, "survey", "h1", []byte("version: one")))
		noError(t, s.PutFlow(ctx, "a {strange} name", strings.Repeat("h", 200), []byte{0xff, 0}))
		noError(t, s.PutFlow(ctx, "survey", "h2", []byte("version: two")))
		noError(t, s.PutFlow(ctx, "survey", "h2", []byte("version: two")))
		wantFlows(map[string]string{"survey": "h2", "a {strange} name": strings.Repeat("h", 200)})
		wantSource("h1", "version: one")
		wantSource("h2", "version: two")
		wantSource(strings.Repeat("h", 200), "\xff\x00")
		hash, err := s.FlowHash(ctx, "survey")
		noError(t, err)
		if hash != "h2" {
			t.Errorf("the current version is %s, want h2", hash)
		}

		// Putting an older version again makes it the current one: a roll-back.
		noError(t, s.PutFlow(ctx, "survey", "h1", []byte("version: one")))
		wantFlows(map[string]string{"survey": "h1", "a {strange} name": strings.Repeat("h", 200)})

		for _, bad := range [][2]string{{"", "h"}, {"n", ""}} {
			if err := s.PutFlow(ctx, bad[0], bad[1], nil); messages.CodeOf(err) != messages.CodeInvalid {
				t.Errorf("put %q: %v", bad, err)
			}
		}
	})
}

func TestFlowRetention(t *testing.T) {
	onBoth(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		source, names := s.keys.flow("h1"), s.keys.flowNames()
		noError(t, s.PutFlow(ctx, "survey", "h1", []byte("x")))
		wantTTL(t, s, source, 2*s.config.CallRetention)
		wantTTL(t, s, names, 2*s.config.CallRetention)

		noError(t, s.client.PExpire(ctx, source, time.Hour).Err())
		noError(t, s.client.PExpire(ctx, names, time.Hour).Err())
		_, err := s.Flow(ctx, "h1")
		noError(t, err)
		wantTTL(t, s, source, 2*s.config.CallRetention)
		wantTTL(t, s, names, 2*s.config.CallRetention)
	})
}
