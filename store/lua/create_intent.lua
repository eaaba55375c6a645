-- Stores an intent as queued, unless its id is taken.
--
-- KEYS  1 the intent: a hash
-- ARGV  1 the intent as JSON
--       2 its NotAfter in Unix milliseconds
--       3 retention in milliseconds
-- Returns {1, fields} when it was stored, {0, fields} when the id was taken; fields
-- is HGETALL of what is stored now.
--
-- Invariants: the JSON of an intent is written once and never parsed or changed
-- here; the key has a TTL that ends no earlier than NotAfter + retention.

local intent = KEYS[1]
local body, not_after, retention = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])

if redis.call('EXISTS', intent) == 1 then
  return {0, redis.call('HGETALL', intent)}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

redis.call('HSET', intent, 'intent', body, 'status', 'queued')
redis.call('PEXPIRE', intent, string.format('%.0f', math.max(not_after - now, 0) + retention))
return {1, redis.call('HGETALL', intent)}
