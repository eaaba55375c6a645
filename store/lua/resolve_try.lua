-- Records how the POST of a try ended.
--
-- KEYS  1 the intent: a hash
--       2 the due set of its partition
-- ARGV  1 the intent's id
--       2 accepted, refused or unknown
--       3 TeleSign's HTTP status, "0" when there was no answer
--       4 the outcome in a word
--       5 the call id of TeleSign's answer, "" when it had none
--       6 retention in milliseconds
-- Returns {1, fields}; {0, fields} when no try was begun (queued); {0, {}} when the
-- intent is not stored. fields is HGETALL of what is stored now.
--
-- Invariants: accepted and refused are final, so an event that came before the
-- POST's answer is not undone by it; unknown becomes either; only an unknown intent
-- stays in the due set; the answer's facts are recorded once, those of an unknown
-- try again when its answer is known; the answer never touches call_id, which an
-- event has to say.

local intent, due = KEYS[1], KEYS[2]
local id, status, http_status, outcome, answer_id = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local retention = tonumber(ARGV[6])

local was = redis.call('HGET', intent, 'status')
if not was or was == 'queued' then
  return {0, redis.call('HGETALL', intent)}
end

local changed = was == 'dialing' or (was == 'unknown' and status ~= 'unknown')
if changed or redis.call('HEXISTS', intent, 'http_status') == 0 then
  redis.call('HSET', intent, 'http_status', http_status, 'outcome', outcome)
  if answer_id ~= '' then
    redis.call('HSET', intent, 'answer_id', answer_id)
  end
end
if changed then
  redis.call('HSET', intent, 'status', status)
  was = status
end

if redis.call('PTTL', intent) < retention then
  redis.call('PEXPIRE', intent, retention)
end
if was == 'unknown' then
  if redis.call('PTTL', due) < retention then
    redis.call('PEXPIRE', due, retention)
  end
else
  redis.call('ZREM', due, id)
end
return {1, redis.call('HGETALL', intent)}
