#!lua flags=allow-oom
-- claim: an executor claims the deliveries that a delivery task names.
--
-- Guarantee: atomically, each queued delivery moves to `running:<worker>`, its attempt is counted and its
-- lease begins. A delivery that is finished, scheduled, blocked or running elsewhere stays as it is and
-- is not returned. So a duplicate, late or forged delivery task runs nothing twice.
-- A delivery that was begun before is claimed only if it is the only one of its task: it may have ended
-- its process, and an old copy of its chunk's task must not run it together with others again.
-- The attempt number is the fencing token: `complete` is accepted only with the same number.
-- A run whose lease expired does not count as an attempt: its worker died, for any reason. A delivery
-- that lost very many runs is itself considered the reason.
--
-- ARGV  handler, retention window ms, owner (`running:<worker>`), max attempts, max lost runs,
--       entries and event keys: two lists as MessagePack, which costs a third of as many arguments
-- Returns 'all' if all of them run for the first time; else entry, result, attempt and lost runs for
-- each claimed delivery. A result is `run`, `duplicate` (another entry has the same event key),
-- `concurrent` (and it is running) or `exhausted` (no attempts are left, or very many leases expired).
-- Bodies are read by a separate command: a script would copy them several times.
--! keys lost_runs stats
--! include _delivery.lua
--! include _matrix.lua
--! include _bulk_reads.lua
local owner, max_attempts, max_lost = ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])

local entries, event_keys = cmsgpack.unpack(ARGV[6])
if #entries == 0 then return {} end
local pending, known, is_in_log = holders(entries), rows_of(event_keys), lookup(entries)

local is_queued = {}
for _, holds in pairs(pending) do
  if is_queued[holds[2]] == nil then
    is_queued[holds[2]] = string.sub(holds[2], 1, 7) == 'queued:'
  end
end

-- Counters instead of `#`, for which Lua searches the end of the table each time.
local claimed, claims, running, runs, by_attempt, numbers, first = {}, 0, {}, 0, {}, {}, 0
for i = 1, #entries do
  local entry, event_key = entries[i], event_keys[i]
  local holds = pending[entry]
  -- An entry without a body was deleted from the log. Claiming it would drop it silently; the next
  -- fetch that reclaims completes it.
  if holds and is_queued[holds[2]] and (holds[4] == 1 or #entries == 1) and is_in_log(entry) then
    local result, attempt, lost = 'run', holds[4], 0
    if attempt > 1 then lost = tonumber(redis.call('HGET', lost_runs, entry)) or 0 end
    local before, state = came_before(known[event_key], entry)
    if before then
      result = state == 'running' and 'concurrent' or 'duplicate'
    elseif attempt - lost > max_attempts or lost >= max_lost then
      result = 'exhausted'
    end
    if not by_attempt[attempt] then by_attempt[attempt], numbers[attempt] = {}, 0 end
    local number = numbers[attempt] + 1
    numbers[attempt], by_attempt[attempt][number] = number, entry
    if result == 'run' then
      local written = row('running', entry, attempt, 0)
      known[event_key], running[runs + 1], running[runs + 2] = written, event_key, written
      runs = runs + 2
      if attempt == 1 then first = first + 1 end
    end
    claimed[claims + 1], claimed[claims + 2] = entry, result
    claimed[claims + 3], claimed[claims + 4] = attempt, lost
    claims = claims + 4
    pending[entry] = nil
  end
end

for attempt, group in pairs(by_attempt) do
  in_slices(group, function(_, ...)
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
  -- Chunks by size: `chunk k` counts those of at most 2^k events, and more than half as many.
  local part, k = math.frexp(claims / 4)
  redis.call('HINCRBY', stats, 'chunk ' .. (part == 0.5 and k - 1 or k), 1)
  redis.call('HINCRBY', stats, 'claimed', claims / 4)
end
return first == #entries and 'all' or claimed
