-- Commits one step of a call, if nobody else has committed since it was loaded.
--
-- KEYS  1 the call: a list of revision, state, outbox, then log entries
-- ARGV  1 the revision the step was made from, "0" for a new call
--       2 the revision after it
--       3 retention in milliseconds
--       4 "1": the entries replace the log; "0": they are appended
--       5 state
--       6 outbox
--       7… log entries
-- Returns 1 when committed, 0 when the stored revision is another.
--
-- Invariants: all or nothing; the key has a TTL; revisions are compared as text,
-- because Lua's numbers are exact only up to 2^53; bytes are stored as given.

local call = KEYS[1]
local expect, revision, retention, rewrite, state, outbox = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local first_entry = 7

local stored = redis.call('LINDEX', call, 0) or '0'
if stored ~= expect then
  return 0
end

if stored == '0' then
  redis.call('RPUSH', call, revision, state, outbox)
else
  redis.call('LSET', call, 0, revision)
  redis.call('LSET', call, 1, state)
  redis.call('LSET', call, 2, outbox)
  if rewrite == '1' then
    redis.call('LTRIM', call, 0, 2)
  end
end
for i = first_entry, #ARGV do
  redis.call('RPUSH', call, ARGV[i])
end
redis.call('PEXPIRE', call, retention)
return 1
