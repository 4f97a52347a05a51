#!lua flags=allow-oom
-- fetch: a dispatcher takes deliveries of one handler in one domain.
--
-- Promise: each delivery returned has moved, in this one atomic call, from exactly one place
-- (waiting, scheduled, or in flight with its lease over) to in flight under `queued:<worker>`, and no
-- other dispatcher is given it until the lease is over again.
--
-- ARGV  handler, owner (`queued:<worker>`), limit (deliveries this worker may hold queued),
--       lease ms, sweep (1: also look for leases that are over), the limits of its keys (see _keyed.lua)
--       or '', most blocked_total, most new, most held (queued or running, of all workers) or '';
--       scheduled first (1|0): whether what is scheduled or what is new goes first where there is room for one
-- Returns {queued before, next scheduled time ms or 0, mean run time µs or 0,
--          patterns of the newest code or '', held by all workers before,
--          {{entry, body, attempts begun, runs lost, the entry that stands for it where it was
--          coalesced or '', the same entry for all that are given in one list or ''}, …}, the time ms,
--          held by this worker before};
--          body is false where the log entry was deleted by another hand: it is in no place any
--          more; runs lost is 0 but where this call took it over from a run whose lease is over
--! keys scheduled lost_runs stats patterns
--! include _delivery.lua
local given_flow = ARGV[6]
--! include _serve.lua
--! include _clock.lua
local owner, limit, lease = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local sweep = ARGV[5] == '1'
local max_blocked, most_new, most_held = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local scheduled_first = ARGV[10] == '1'
local newest_patterns = redis.call('GET', patterns)

local running = 'running:' .. string.sub(owner, 8)
local queued, blocked_total, held, own = 0, 0, 0, 0
local pending = redis.call('XPENDING', stream, handler)
local has_stepped = correct_times(pending)
for _, consumer in ipairs(pending[4] or {}) do
  if consumer[1] == owner then queued = tonumber(consumer[2]) end
  if consumer[1] == 'blocked' then
    blocked_total = tonumber(consumer[2])
  elseif consumer[1] ~= 'scheduled' then
    held = held + tonumber(consumer[2])
    if consumer[1] == owner or consumer[1] == running then own = own + tonumber(consumer[2]) end
  end
end
local room = limit - queued
local taken = {}
if flow then
  note_pending(tonumber(pending[1]))
  end_waits(has_stepped)
elseif redis.call('EXISTS', keyed) == 1 then
  forget_keys()
end

local function block_pending(entry)
  redis.call('XCLAIM', stream, handler, 'blocked', 0, entry, 'JUSTID')
  blocked_total = blocked_total + 1
end

local function take(entry, was_running, list)
  local count, into = select(3, holder(entry)), ''
  local value = flow and flow.quiet_ms > 0 and redis.call('HGET', keyed, entry)
  if value and string.sub(value, 1, 1) == '>' then into = string.sub(value, 2) end
  local body = body_of(entry)
  redis.call('XCLAIM', stream, handler, owner, 0, entry, 'JUSTID')
  -- Without its log entry XCLAIM has dropped it from the pending ones.
  if not body then
    if flow then leave(entry) end
    redis.call('HDEL', lost_runs, entry)
  end
  local lost = body and was_running and redis.call('HINCRBY', lost_runs, entry, 1) or 0
  taken[#taken + 1] = {entry, body, count - 1, lost, into, list or ''}
  room = room - 1
end

-- What was given together with another one has no slot of its own. When their lease is over, it waits
-- for one; true if it is so.
local function block_rider(entry, was_running)
  local value = flow and flow.quiet_ms > 0 and redis.call('HGET', keyed, entry)
  if not value or string.sub(value, 1, 1) ~= '=' then return false end
  local _, flow_key, position = parse_noted(value)
  if was_running then redis.call('HINCRBY', lost_runs, entry, 1) end
  block_pending(entry)
  block(entry, flow_key, position)
  return true
end

if sweep then
  -- A lease is over: its process died, or its hint was lost. Parked and scheduled entries wait for
  -- no process, and have no lease. They have room of their own: under steady load a worker is
  -- always full, and what another abandoned would wait for as long as the load lasts.
  for _, consumer in ipairs(pending[4] or {}) do
    if consumer[1] ~= 'scheduled' and consumer[1] ~= 'blocked' then
      local over = redis.call('XPENDING', stream, handler, 'IDLE', lease, '-', '+',
        math.max(limit, 1), consumer[1])
      local place = string.match(consumer[1], '^[^:]*')
      for _, p in ipairs(over) do
        local was_running = place == 'running'
        if not block_rider(p[1], was_running) then take(p[1], was_running) end
      end
      if #over > 0 then redis.call('HINCRBY', stats, 'lost ' .. place, #over) end
    end
  end
end

-- What was taken over is held already; all that follows is held anew.
if most_held then room = math.min(room, most_held - held) end

-- Entries that are delivered in one list are gathered first, more of them than there is room for: a
-- list that was requeued is whole again.
local gathers = flow and flow.quiet_ms > 0 and flow.keep == 'all' and limit > 0

local function take_scheduled(most)
  local scanned = gathers and math.max(most, MAX_TOGETHER) or most
  if scanned <= 0 then return end
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', scheduled, '-inf', now, 'LIMIT', 0, scanned)) do
    -- Left over from a group that was destroyed, where it is not pending as scheduled.
    if holder(entry) ~= 'scheduled' then
      redis.call('ZREM', scheduled, entry)
    else
      local mark, flow_key, position
      if flow then mark, flow_key, position = parse_noted(redis.call('HGET', keyed, entry) or '.') end
      if gathers and mark == '-' then
        redis.call('ZREM', scheduled, entry)
        enter(entry, flow_key, position, false)
        block_pending(entry)
      elseif most > 0 then
        most = most - 1
        redis.call('ZREM', scheduled, entry)
        if mark ~= '-' or enter(entry, flow_key, position, true) then take(entry) else block_pending(entry) end
      end
    end
  end
end

local function take_served()
  while room > 0 do
    local entry = serve()
    if not entry then return end
    local riders = riders_of(entry)
    local list = #riders > 0 and entry or ''
    blocked_total = blocked_total - 1 - #riders
    take(entry, false, list)
    for _, rider in ipairs(riders) do take(rider, false, list) end
  end
end

-- Half of the room is kept for what is new, or a replay of many would hold it up until its end.
local for_new = math.floor(room / 2)
if room == 1 and not scheduled_first then for_new = 1 end
take_scheduled(room - math.min(for_new, most_new))

if flow and not flow.fair then take_served() end
if not flow and blocked_total > 0 and room > 0 then
  -- The handler limited its keys before; nobody else would ever free these.
  for _, p in ipairs(redis.call('XPENDING', stream, handler, '-', '+', room, 'blocked')) do
    take(p[1])
  end
end

-- Where keys take turns, or wait until they are quiet, more is read than there is room for.
local MAX_READ_AHEAD = 500
local reads_ahead = flow and (flow.fair or flow.quiet_ms > 0)
local want = math.min(reads_ahead and MAX_READ_AHEAD or room, most_new)
if flow then want = math.min(want, max_blocked - blocked_total) end

local function give(item)
  local entry, body, flow_key = item[1], event_of(item[2]), nil
  if flow then
    flow_key = key_of(body)
    if not flow_key then redis.call('HSET', keyed, entry, '.') end
  end
  local is_debounced = flow_key and flow.quiet_ms > 0
  if is_debounced and (flow.keep == 'all' or not may_repeat(entry, item[2][1])) then
    local coalesced, is_waiting = wait_for_quiet(entry, flow_key)
    if is_waiting then block_pending(entry) end
    if coalesced then
      if coalesced ~= entry then blocked_total = blocked_total - 1 end
      take(coalesced)
    end
  elseif not flow_key or enter(entry, flow_key, position_of(entry), room > 0) then
    taken[#taken + 1] = {entry, body, 0, 0, '', ''}
    room = room - 1
  else
    block_pending(entry)
  end
end

-- Up to when the handler's entries are read. A key is not quiet while an unread entry may be of it,
-- unless so many entries are blocked that no more are read.
local read_until = most_new > 0 and now or 0
local is_at_end = 0
if want > 0 then
  local found = redis.call('XREADGROUP', 'GROUP', handler, owner, 'COUNT', want, 'STREAMS', stream, '>')
  local items = found and found[1] and found[1][2] or {}
  for _, item in ipairs(items) do give(item) end
  if #items < want then is_at_end = 1 else read_until = math.min(now, ms_of(items[#items][1])) end
end

local has_more = flow and want > 0 and is_at_end == 0
if flow then
  end_quiet(read_until)
  take_served()
end
take_scheduled(room)

local next_due = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2]
if has_more then
  next_due = now
elseif flow then
  for _, waits in ipairs({throttled, quiet_until}) do
    local at = redis.call('ZRANGE', waits, 0, 0, 'WITHSCORES')[2]
    if at and (not next_due or tonumber(at) < tonumber(next_due)) then next_due = at end
  end
end
return {queued, tonumber(next_due) or 0, tonumber(redis.call('HGET', stats, 'mean_us')) or 0,
  newest_patterns or '', held, taken, now, own, is_at_end}
