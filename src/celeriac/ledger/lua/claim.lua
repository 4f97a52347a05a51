#!lua flags=allow-oom
-- claim: an executor claims the deliveries that a hint names.
--
-- Promise: atomically, each delivery that is queued passes to `running:<worker>` with its attempt
-- counted and its lease begun; one that is finished, due, parked, or running elsewhere is left as
-- it is and not returned. So a hint that is doubled, late or forged runs nothing twice.
-- The attempt number is the fencing token: only finish with the same number is accepted.
--
-- KEYS  base
-- ARGV  handler, retention window ms, owner (`running:<worker>`), most attempts,
--       then entry, event id for each
-- Returns {{entry, verdict, attempt, body}, …}; verdict is `run`, `duplicate` (another
-- entry carries the same event id) or `exhausted` (its attempts ended in crashes).
--! include _keys.lua
--! include _matrix.lua
local owner, most_attempts = ARGV[3], tonumber(ARGV[4])
local claimed = {}

for i = 5, #ARGV, 2 do
  local entry, id = ARGV[i], ARGV[i + 1]
  local held_by, _, count = holder(entry)
  local body = held_by and body_of(entry)
  -- Without a body it was deleted from the log, and claiming it would drop it unseen; the next
  -- sweep settles it.
  if body and string.sub(held_by, 1, 7) == 'queued:' then
    local verdict, attempt = 'run', count
    if came_before(id, entry) then
      verdict = 'duplicate'
    elseif attempt > most_attempts then
      verdict = 'exhausted'
    end
    redis.call('XCLAIM', stream, handler, owner, 0, entry, 'JUSTID', 'RETRYCOUNT', attempt + 1)
    if verdict == 'run' then
      redis.call('HSET', rows, id, row('running', entry, attempt, 0))
    end
    claimed[#claimed + 1] = {entry, verdict, attempt, body}
  end
end
keep(rows)
return claimed
