#!lua flags=allow-oom
-- claim: an executor claims the deliveries that a hint names.
--
-- Promise: atomically, each delivery that is queued passes to `running:<worker>` with its attempt
-- counted and its lease begun; one that is finished, scheduled, blocked_total, or running elsewhere is left as
-- it is and not returned. So a hint that is doubled, late or forged runs nothing twice.
-- One that was begun before is claimed alone only: it may be what ended its process, and an old copy
-- of its chunk's hint must not run it beside the others again.
-- The attempt number is the fencing token: only finish with the same number is accepted.
-- A run whose lease ended counts as none of the attempts that the handler is allowed: its worker died,
-- of whatever. One that lost very many of them is what its workers die of.
--
-- ARGV  handler, retention window ms, owner (`running:<worker>`), most attempts, most lost runs,
--       entries and event keys: two lists as MessagePack, which costs a third of as many arguments
-- Returns 'all' where all of them run for the first time; else entry, verdict, attempt, runs lost for
-- each that was claimed. A verdict is `run`, `duplicate` (another entry carries the same event key),
-- `concurrent` (and is running now) or `exhausted` (its attempts or very many leases are used up). The bodies are read beside this: what goes through a
-- script is copied several times.
--! keys lost_runs stats
--! include _delivery.lua
--! include _matrix.lua
--! include _many.lua
local owner, most_attempts, most_lost = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local hinted, event_keys = cmsgpack.unpack(ARGV[6])
if #hinted == 0 then return {} end
local held, known, is_there = holders(hinted), rows_of(event_keys), lookup(hinted)

local is_queued = {}
for _, holds in pairs(held) do
  if is_queued[holds[2]] == nil then
    is_queued[holds[2]] = string.sub(holds[2], 1, 7) == 'queued:'
  end
end

-- Counted by hand: for `#` Lua searches the end of the table each time.
local claimed, claims, running, runs, by_attempt, numbers, first = {}, 0, {}, 0, {}, {}, 0
for i = 1, #hinted do
  local entry, event_key = hinted[i], event_keys[i]
  local holds = held[entry]
  -- Without a body it was deleted from the log, and claiming it would drop it unseen; the next
  -- sweep settles it.
  if holds and is_queued[holds[2]] and (holds[4] == 1 or #hinted == 1) and is_there(entry) then
    local verdict, attempt, lost = 'run', holds[4], 0
    if attempt > 1 then lost = tonumber(redis.call('HGET', lost_runs, entry)) or 0 end
    local before, state = came_before(known[event_key], entry)
    if before then
      verdict = state == 'running' and 'concurrent' or 'duplicate'
    elseif attempt - lost > most_attempts or lost >= most_lost then
      verdict = 'exhausted'
    end
    if not by_attempt[attempt] then by_attempt[attempt], numbers[attempt] = {}, 0 end
    local number = numbers[attempt] + 1
    numbers[attempt], by_attempt[attempt][number] = number, entry
    if verdict == 'run' then
      local written = row('running', entry, attempt, 0)
      known[event_key], running[runs + 1], running[runs + 2] = written, event_key, written
      runs = runs + 2
      if attempt == 1 then first = first + 1 end
    end
    claimed[claims + 1], claimed[claims + 2] = entry, verdict
    claimed[claims + 3], claimed[claims + 4] = attempt, lost
    claims = claims + 4
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
if runs > 0 then
  in_slices(running, function(_, ...) redis.call('HSET', rows, ...) end)
  keep_rows()
end
if claims > 0 then
  -- Chunks by their size: `chunk k` counts those of at most 2^k events, and more than half as many.
  local part, k = math.frexp(claims / 4)
  redis.call('HINCRBY', stats, 'chunk ' .. (part == 0.5 and k - 1 or k), 1)
  redis.call('HINCRBY', stats, 'claimed', claims / 4)
end
return first == #hinted and 'all' or claimed
