package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/offhook/offhook/messages"
)

// DueIntents lists up to limit tries whose due time has passed on Redis' clock,
// longest overdue first: dialing ones whose process died before it resolved them,
// and unknown ones. They are listed until ResolveTry or ClaimIntent settles them
// or ClearDue takes them out; one whose intent has expired is listed too. Two round
// trips, whatever the number of intents.
func (s *Store) DueIntents(ctx context.Context, limit int) ([]string, error) {
	if limit <= 0 {
		return nil, nil
	}
	now, err := s.client.Time(ctx).Result()
	if err != nil {
		return nil, s.fail("reading its clock", err)
	}
	pipe := s.client.Pipeline()
	partitions := make([]*redis.ZSliceCmd, messages.Partitions)
	for i := range partitions {
		partitions[i] = pipe.ZRangeArgsWithScores(ctx, redis.ZRangeArgs{
			Key: s.keys.due(fmt.Sprintf("%02d", i)), ByScore: true,
			Start: "-inf", Stop: strconv.FormatInt(now.UnixMilli(), 10), Count: int64(limit),
		})
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, s.fail("reading the due sets", err)
	}
	var due []redis.Z
	for _, partition := range partitions {
		due = append(due, partition.Val()...)
	}
	slices.SortFunc(due, func(a, b redis.Z) int { return cmp.Compare(a.Score, b.Score) })
	ids := make([]string, 0, min(len(due), limit))
	for _, entry := range due[:min(len(due), limit)] {
		id, ok := entry.Member.(string)
		if !ok {
			return nil, messages.Errorf(messages.CodeInternal, "a due set holds %v, which is not an intent's id", entry.Member)
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// ClearDue takes an intent out of its due set, once it has been handed to somebody
// else who remembers it, such as the failed set. Its status stays. Clearing what
// is not there does nothing.
func (s *Store) ClearDue(ctx context.Context, id string) error {
	if err := s.client.ZRem(ctx, s.keys.due(messages.Partition(id)), id).Err(); err != nil {
		return s.fail("clearing the due time of intent "+plain(id), err)
	}
	return nil
}
