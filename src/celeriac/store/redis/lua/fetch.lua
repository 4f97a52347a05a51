#!lua flags=allow-oom
-- fetch: a dispatcher fetches deliveries of one handler in one domain.
--
-- Guarantee: in this one atomic call, each returned delivery moved from exactly one state (waiting,
-- scheduled, blocked, or in flight with an expired lease) to in flight under `queued:<worker>`. No other
-- dispatcher gets it until its lease expires.
--
-- ARGV  handler, owner (`queued:<worker>`), limit (deliveries this worker may have queued),
--       lease ms, reclaim (1: also fetch deliveries with an expired lease), the limits of its keys (see
--       _keyed.lua) or '', max blocked, max new, max in flight (queued or running, of all workers) or '';
--       scheduled first (1|0): whether a single available slot goes to a scheduled or to a new delivery
-- Returns {queued before, next scheduled time ms or 0, mean run time µs or 0,
--          patterns of the newest code or '', in flight in all workers before,
--          {{entry, body, attempts begun, lost runs, the entry that is handled in its place if it was
--          coalesced or '', the same entry for all that are delivered in one list or ''}, …}, the time
--          ms, in flight in this worker before, 1 if the group has read the log to its end};
--          body is false if the log entry was deleted outside celeriac: it is then no longer pending;
--          lost runs is 0 unless this call reclaimed the delivery from a run
--! keys scheduled lost_runs stats patterns
--! include _delivery.lua
local given_flow_control = ARGV[6]
--! include _blocked_keys.lua
--! include _clock.lua
local owner, limit, lease = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local reclaims = ARGV[5] == '1'
local max_blocked, max_new, max_in_flight = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
local scheduled_first = ARGV[10] == '1'
local newest_patterns = redis.call('GET', patterns)

local running = 'running:' .. string.sub(owner, 8)
local queued, blocked_total, in_flight, in_flight_here = 0, 0, 0, 0
local pending = redis.call('XPENDING', stream, handler)
local has_stepped = correct_times(pending)
for _, consumer in ipairs(pending[4] or {}) do
  if consumer[1] == owner then queued = tonumber(consumer[2]) end
  if consumer[1] == 'blocked' then
    blocked_total = tonumber(consumer[2])
  elseif consumer[1] ~= 'scheduled' then
    in_flight = in_flight + tonumber(consumer[2])
    if consumer[1] == owner or consumer[1] == running then
      in_flight_here = in_flight_here + tonumber(consumer[2])
    end
  end
end
local slots_left = limit - queued
local fetched = {}
if flow_control then
  note_pending(tonumber(pending[1]))
  end_waits(has_stepped)
elseif redis.call('EXISTS', keyed) == 1 then
  forget_keys()
end

local function block_pending(entry)
  redis.call('XCLAIM', stream, handler, 'blocked', 0, entry, 'JUSTID')
  blocked_total = blocked_total + 1
end

local function fetch(entry, was_running, list)
  local count, into = select(3, holder(entry)), ''
  local value = flow_control and flow_control.quiet_ms > 0 and redis.call('HGET', keyed, entry)
  if value and string.sub(value, 1, 1) == '>' then into = string.sub(value, 2) end
  local body = body_of(entry)
  redis.call('XCLAIM', stream, handler, owner, 0, entry, 'JUSTID')
  -- If its log entry was deleted, XCLAIM has removed it from the pending ones.
  if not body then
    if flow_control then leave(entry) end
    redis.call('HDEL', lost_runs, entry)
  end
  local lost = body and was_running and redis.call('HINCRBY', lost_runs, entry, 1) or 0
  fetched[#fetched + 1] = {entry, body, count - 1, lost, into, list or ''}
  slots_left = slots_left - 1
end

-- An entry that was delivered together with another has no slot. When their lease expires, it waits for
-- one. Returns true in that case.
local function block_rider(entry, was_running)
  local value = flow_control and flow_control.quiet_ms > 0 and redis.call('HGET', keyed, entry)
  if not value or string.sub(value, 1, 1) ~= '=' then return false end
  local _, flow_key, position = parse_noted(value)
  if was_running then redis.call('HINCRBY', lost_runs, entry, 1) end
  block_pending(entry)
  block(entry, flow_key, position)
  return true
end

if reclaims then
  -- A lease expires if the process died or the delivery task was lost. Blocked and scheduled entries
  -- have no lease. Reclaimed deliveries have separate slots: under steady load a worker has none
  -- available, and deliveries of a dead worker would wait until the load ends.
  for _, consumer in ipairs(pending[4] or {}) do
    if consumer[1] ~= 'scheduled' and consumer[1] ~= 'blocked' then
      local expired = redis.call('XPENDING', stream, handler, 'IDLE', lease, '-', '+',
        math.max(limit, 1), consumer[1])
      local state = string.match(consumer[1], '^[^:]*')
      for _, p in ipairs(expired) do
        local was_running = state == 'running'
        if not block_rider(p[1], was_running) then fetch(p[1], was_running) end
      end
      if #expired > 0 then redis.call('HINCRBY', stats, 'lost ' .. state, #expired) end
    end
  end
end

-- Reclaimed deliveries are already in flight; the following ones are added to them.
if max_in_flight then slots_left = math.min(slots_left, max_in_flight - in_flight) end

-- Entries that are delivered in one list are collected first, even without available slots: a list that
-- was requeued becomes complete again.
local gathers = flow_control and flow_control.quiet_ms > 0 and flow_control.keep == 'all' and limit > 0

local function fetch_scheduled(max)
  local scanned = gathers and math.max(max, MAX_TOGETHER) or max
  if scanned <= 0 then return end
  for _, entry in ipairs(redis.call('ZRANGEBYSCORE', scheduled, '-inf', now, 'LIMIT', 0, scanned)) do
    -- A leftover of a destroyed group, unless it is pending as scheduled.
    if holder(entry) ~= 'scheduled' then
      redis.call('ZREM', scheduled, entry)
    else
      local mark, flow_key, position
      if flow_control then mark, flow_key, position = parse_noted(redis.call('HGET', keyed, entry) or '.') end
      if gathers and mark == '-' then
        redis.call('ZREM', scheduled, entry)
        enter(entry, flow_key, position, false)
        block_pending(entry)
      elseif max > 0 then
        max = max - 1
        redis.call('ZREM', scheduled, entry)
        if mark ~= '-' or enter(entry, flow_key, position, true) then fetch(entry) else block_pending(entry) end
      end
    end
  end
end

local function fetch_blocked()
  while slots_left > 0 do
    local entry = serve()
    if not entry then return end
    local riders = riders_of(entry)
    local list = #riders > 0 and entry or ''
    blocked_total = blocked_total - 1 - #riders
    fetch(entry, false, list)
    for _, rider in ipairs(riders) do fetch(rider, false, list) end
  end
end

-- Half of the slots is kept for new deliveries, or a large replay would delay them to its end.
local for_new = math.floor(slots_left / 2)
if slots_left == 1 and not scheduled_first then for_new = 1 end
fetch_scheduled(slots_left - math.min(for_new, max_new))

if flow_control and not flow_control.fair then fetch_blocked() end
if not flow_control and blocked_total > 0 and slots_left > 0 then
  -- The handler limited its keys before; nothing else would unblock these.
  for _, p in ipairs(redis.call('XPENDING', stream, handler, '-', '+', slots_left, 'blocked')) do
    fetch(p[1])
  end
end

-- If keys are served fairly or debounced, more entries are read than slots are available.
local MAX_PREFETCH = 500
local prefetches = flow_control and (flow_control.fair or flow_control.quiet_ms > 0)
local want = math.min(prefetches and MAX_PREFETCH or slots_left, max_new)
if flow_control then want = math.min(want, max_blocked - blocked_total) end

local function give(item)
  local entry, body, flow_key = item[1], event_of(item[2]), nil
  if flow_control then
    flow_key = key_of(body)
    if not flow_key then redis.call('HSET', keyed, entry, '.') end
  end
  local is_debounced = flow_key and flow_control.quiet_ms > 0
  if is_debounced and (flow_control.keep == 'all' or not may_repeat(entry, item[2][1])) then
    local coalesced, is_waiting = wait_for_quiet(entry, flow_key)
    if is_waiting then block_pending(entry) end
    if coalesced then
      if coalesced ~= entry then blocked_total = blocked_total - 1 end
      fetch(coalesced)
    end
  elseif not flow_key or enter(entry, flow_key, position_of(entry), slots_left > 0) then
    fetched[#fetched + 1] = {entry, body, 0, 0, '', ''}
    slots_left = slots_left - 1
  else
    block_pending(entry)
  end
end

-- The time up to which the handler's entries are read. A key is not quiet while an unread entry may
-- have it, unless so many entries are blocked that no more are read.
local read_until = max_new > 0 and now or 0
local is_at_end = 0
if want > 0 then
  local reply = redis.call('XREADGROUP', 'GROUP', handler, owner, 'COUNT', want, 'STREAMS', stream, '>')
  local items = reply and reply[1] and reply[1][2] or {}
  for _, item in ipairs(items) do give(item) end
  if #items < want then is_at_end = 1 else read_until = math.min(now, ms_of(items[#items][1])) end
end

local has_more = flow_control and want > 0 and is_at_end == 0
if flow_control then
  end_quiet(read_until)
  fetch_blocked()
end
fetch_scheduled(slots_left)

local next_due = redis.call('ZRANGE', scheduled, 0, 0, 'WITHSCORES')[2]
if has_more then
  next_due = now
elseif flow_control then
  for _, waits in ipairs({throttled, quiet_until}) do
    local at = redis.call('ZRANGE', waits, 0, 0, 'WITHSCORES')[2]
    if at and (not next_due or tonumber(at) < tonumber(next_due)) then next_due = at end
  end
end
return {queued, tonumber(next_due) or 0, tonumber(redis.call('HGET', stats, 'mean_us')) or 0,
  newest_patterns or '', in_flight, fetched, now, in_flight_here, is_at_end}
