package store

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/messages"
)

// PutFlow stores a flow's source under its hash and makes it the current one of
// its name, in one step. Earlier versions stay until nobody has used them for
// twice CallRetention, for the calls that began with them.
func (s *Store) PutFlow(ctx context.Context, name, hash string, source []byte) error {
	if name == "" || hash == "" {
		return messages.Errorf(messages.CodeInvalid, "a flow needs a name and a hash: got name %q, hash %q", name, hash)
	}
	_, err := s.client.TxPipelined(ctx, func(pipe redis.Pipeliner) error {
		pipe.Set(ctx, s.keys.flow(hash), source, s.config.flowRetention())
		pipe.HSet(ctx, s.keys.flowNames(), name, hash)
		pipe.PExpire(ctx, s.keys.flowNames(), s.config.flowRetention())
		return nil
	})
	if err != nil {
		return s.fail("storing flow "+name, err)
	}
	return nil
}

// Flow reads a flow's source and starts its retention anew. Whoever serves a flow
// from memory has to ask for it at least once per CallRetention, which keeps it
// for every other process. CodeNotFound when it is not stored.
func (s *Store) Flow(ctx context.Context, hash string) ([]byte, error) {
	pipe := s.client.Pipeline()
	source := pipe.GetEx(ctx, s.keys.flow(hash), s.config.flowRetention())
	pipe.PExpire(ctx, s.keys.flowNames(), s.config.flowRetention())
	_, err := pipe.Exec(ctx)
	switch {
	case errors.Is(err, redis.Nil):
		return nil, messages.Errorf(messages.CodeNotFound, "no flow with hash %s is stored", plain(hash))
	case err != nil:
		return nil, s.fail("loading flow "+plain(hash), err)
	}
	return []byte(source.Val()), nil
}

// FlowHash is the hash of the current version of a flow. CodeNotFound when no flow
// of that name is stored.
func (s *Store) FlowHash(ctx context.Context, name string) (string, error) {
	hash, err := s.client.HGet(ctx, s.keys.flowNames(), name).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return "", messages.FieldErrorf(messages.CodeNotFound, "flow", "no flow %q is stored: start a worker that serves it", name)
	case err != nil:
		return "", s.fail("looking up flow "+name, err)
	}
	return hash, nil
}

// Flows maps each flow's name to the hash of its current version.
func (s *Store) Flows(ctx context.Context) (map[string]string, error) {
	names, err := s.client.HGetAll(ctx, s.keys.flowNames()).Result()
	if err != nil {
		return nil, s.fail("listing the flows", err)
	}
	return names, nil
}
