package store

import (
	"context"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/messages"
)

// Call is the stored state of one call. State and Outbox are the worker's: the
// store neither reads nor changes them.
type Call struct {
	Revision uint64 // commits so far; 0: nothing is stored
	State    []byte
	Outbox   []byte // action and effects of the last commit
}

// Commit is one step of a call.
type Commit struct {
	Expect     uint64 // the revision the step was made from; the commit makes it Expect+1
	State      []byte
	Outbox     []byte
	Log        [][]byte // entries to append to the call's log
	RewriteLog bool     // Log replaces the call's log instead
}

// The places in a call's list, see keys.
const (
	callRevision = iota
	callState
	callOutbox
	callLog // the first entry of the log
)

// LoadCall reads a call's state, without its log, in one round trip, which loads and
// commits of others may share. A call that was never committed, or has expired, is the
// zero Call.
func (s *Store) LoadCall(ctx context.Context, id string) (Call, error) {
	c, _, err := s.loadCall(ctx, id, callOutbox)
	return c, err
}

// LoadCallAndLog is LoadCall and LoadLog in one round trip, so that both are of one
// revision.
func (s *Store) LoadCallAndLog(ctx context.Context, id string) (Call, [][]byte, error) {
	return s.loadCall(ctx, id, -1)
}

// loadCall reads a call's list up to the place last.
func (s *Store) loadCall(ctx context.Context, id string, last int) (Call, [][]byte, error) {
	key := s.keys.call(id)
	load := redis.NewStringSliceCmd(ctx, "lrange", key, callRevision, last)
	if err := s.batch.do(ctx, load); err != nil {
		return Call{}, nil, s.fail("loading call "+plain(id), err)
	}
	list := load.Val()
	if len(list) == 0 {
		return Call{}, nil, nil
	}
	if len(list) < callLog {
		return Call{}, nil, messages.Errorf(messages.CodeInternal, "key %s: not a call: %d elements before the log, want %d", key, len(list), callLog)
	}
	revision, err := strconv.ParseUint(list[callRevision], 10, 64)
	if err != nil {
		return Call{}, nil, messages.Errorf(messages.CodeInternal, "key %s: not a call: its revision: %w", key, err)
	}
	return Call{Revision: revision, State: []byte(list[callState]), Outbox: []byte(list[callOutbox])}, inBytes(list[callLog:]), nil
}

// inBytes are entries of a log as callers want them.
func inBytes(entries []string) [][]byte {
	log := make([][]byte, len(entries))
	for i, entry := range entries {
		log[i] = []byte(entry)
	}
	return log
}

// LoadLog reads a call's log, oldest entry first, in one round trip; it is empty
// for a call that is not stored. Its cost grows with the call, and it is not
// needed to step one.
func (s *Store) LoadLog(ctx context.Context, id string) ([][]byte, error) {
	entries, err := s.client.LRange(ctx, s.keys.call(id), callLog, -1).Result()
	if err != nil {
		return nil, s.fail("loading the log of call "+plain(id), err)
	}
	return inBytes(entries), nil
}

// CommitCall writes state, outbox and log in one atomic step and one round trip,
// and starts the call's retention anew. The error wraps ErrConflict when the
// stored revision is not c.Expect; then nothing was changed. Whoever repeats a
// commit after ErrUnavailable gets ErrConflict if the first was done: load the call
// to see. After ErrUnavailable the bytes of c may still be read, so they are not to
// be changed.
func (s *Store) CommitCall(ctx context.Context, id string, c Commit) error {
	args := make([]any, 0, 10+len(c.Log))
	args = append(args, "evalsha", commitCallScript.Hash(), 1, s.keys.call(id),
		strconv.FormatUint(c.Expect, 10), strconv.FormatUint(c.Expect+1, 10),
		s.config.CallRetention.Milliseconds(), c.RewriteLog, c.State, c.Outbox)
	for _, entry := range c.Log {
		args = append(args, entry)
	}
	commit := redis.NewCmd(ctx, args...)
	err := s.batch.do(ctx, commit)
	if redis.HasErrorPrefix(err, "NOSCRIPT") {
		args[0], args[1] = "eval", commitCallLua
		commit = redis.NewCmd(ctx, args...)
		err = s.batch.do(ctx, commit)
	}
	if err != nil {
		return s.fail("committing call "+plain(id), err)
	}
	if committed, _ := commit.Bool(); !committed { // the script answers 1 or 0
		return messages.Errorf(messages.CodeConflict, "call %s is no longer at revision %d: %w", plain(id), c.Expect, ErrConflict)
	}
	return nil
}
