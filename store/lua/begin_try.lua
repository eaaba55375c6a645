-- Gives the caller the right to POST an intent's dial: once, ever.
--
-- KEYS  1 the intent: a hash
--       2 the due set of its partition
-- ARGV  1 the intent's id
--       2 the intent as JSON, stored if there is none yet
--       3 its NotAfter in Unix milliseconds
--       4 milliseconds from now until it is due
--       5 retention in milliseconds
-- Returns {1, fields} when the try has begun, {0, fields} when it must not; fields
-- is HGETALL of what is stored now.
--
-- Invariants: only an absent or queued intent becomes dialing, in the same step as
-- its entry in the due set, so a dialing intent is never forgotten; the due set's
-- TTL ends no earlier than the intent's.

local intent, due = KEYS[1], KEYS[2]
local id, body = ARGV[1], ARGV[2]
local not_after, wait, retention = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local status = redis.call('HGET', intent, 'status')
if status and status ~= 'queued' then
  return {0, redis.call('HGETALL', intent)}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local tried_at = time[1] .. string.format('%06d', tonumber(time[2]))
local ttl = math.max(not_after - now, 0) + retention

if not status then
  redis.call('HSET', intent, 'intent', body)
end
redis.call('HSET', intent, 'status', 'dialing', 'tried_at', tried_at)
redis.call('PEXPIRE', intent, string.format('%.0f', ttl))

redis.call('ZADD', due, string.format('%.0f', now + wait), id)
if redis.call('PTTL', due) < ttl + wait then
  redis.call('PEXPIRE', due, string.format('%.0f', ttl + wait))
end
return {1, redis.call('HGETALL', intent)}
