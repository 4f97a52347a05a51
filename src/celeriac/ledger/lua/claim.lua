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
-- Returns 'all' where all of them run for the first time; else entry, verdict, attempt for each that
-- was claimed. A verdict is `run`, `duplicate` (another entry carries the same event id) or
-- `exhausted` (its attempts ended in crashes). The bodies are read beside this: what goes through a
-- script is copied several times.
--! include _keys.lua
--! include _matrix.lua
--! include _many.lua
local owner, most_attempts = ARGV[3], tonumber(ARGV[4])

local hinted, ids = {}, {}
for i = 5, #ARGV, 2 do
  hinted[#hinted + 1], ids[#ids + 1] = ARGV[i], ARGV[i + 1]
end
if #hinted == 0 then return {} end
local held, known, is_there = holders(hinted), rows_of(ids), lookup(hinted)

local claimed, running, by_attempt, first = {}, {}, {}, 0
for i, entry in ipairs(hinted) do
  local id, holds = ids[i], held[entry]
  -- Without a body it was deleted from the log, and claiming it would drop it unseen; the next
  -- sweep settles it.
  if holds and string.sub(holds[2], 1, 7) == 'queued:' and is_there(entry) then
    local verdict, attempt = 'run', holds[4]
    if came_before(known[id], entry) then
      verdict = 'duplicate'
    elseif attempt > most_attempts then
      verdict = 'exhausted'
    end
    if not by_attempt[attempt] then by_attempt[attempt] = {} end
    table.insert(by_attempt[attempt], entry)
    if verdict == 'run' then
      known[id] = row('running', entry, attempt, 0)
      running[#running + 1], running[#running + 2] = id, known[id]
      if attempt == 1 then first = first + 1 end
    end
    local n = #claimed
    claimed[n + 1], claimed[n + 2], claimed[n + 3] = entry, verdict, attempt
    held[entry] = nil
  end
end

for attempt, entries in pairs(by_attempt) do
  in_slices(entries, function(_, ...)
    local claim = {'XCLAIM', stream, handler, owner, 0, ...}
    for _, word in ipairs({'JUSTID', 'RETRYCOUNT', attempt + 1}) do claim[#claim + 1] = word end
    redis.call(unpack(claim))
  end)
end
if #running > 0 then
  in_slices(running, function(_, ...) redis.call('HSET', rows, ...) end)
  keep(rows)
end
if #claimed > 0 then
  -- Chunks by their size: `chunk k` counts those of at most 2^k events, and more than half as many.
  local part, k = math.frexp(#claimed / 3)
  redis.call('HINCRBY', stats, 'chunk ' .. (part == 0.5 and k - 1 or k), 1)
  redis.call('HINCRBY', stats, 'claimed', #claimed / 3)
end
return first == #hinted and 'all' or claimed
