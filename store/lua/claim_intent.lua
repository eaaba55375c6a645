-- Binds an intent to the call whose event named it: the proof that it was dialled.
--
-- KEYS  1 the intent: a hash
--       2 the due set of its partition
-- ARGV  1 the intent's id
--       2 the call's id
--       3 retention in milliseconds
-- Returns {1, fields} when the intent is bound to this call; {0, fields} when it is
-- bound to another; {0, {}} when it is not stored. fields is HGETALL of what is
-- stored now.
--
-- Invariants: the first call wins; claiming twice is claiming once; afterwards the
-- intent is accepted, or refused if TeleSign had said so, and out of the due set,
-- so that nobody can begin it and no answer of the POST changes its status.

local intent, due = KEYS[1], KEYS[2]
local id, call_id, retention = ARGV[1], ARGV[2], tonumber(ARGV[3])

local status = redis.call('HGET', intent, 'status')
if not status then
  return {0, {}}
end
local bound = redis.call('HGET', intent, 'call_id')
if bound and bound ~= call_id then
  return {0, redis.call('HGETALL', intent)}
end

if not bound then
  redis.call('HSET', intent, 'call_id', call_id)
end
if status ~= 'refused' then
  redis.call('HSET', intent, 'status', 'accepted')
end
redis.call('ZREM', due, id)
if redis.call('PTTL', intent) < retention then
  redis.call('PEXPIRE', intent, retention)
end
return {1, redis.call('HGETALL', intent)}
