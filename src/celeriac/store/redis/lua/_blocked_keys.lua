-- Included by fetch: selects the next of the keys that have blocked entries.
--! include _keyed.lua
--! include _key_of.lua
--! include _ambiguous.lua
--! keys quiet_until quiet_since debounced
local MAX_TOGETHER = 1000  -- as in celeriac/flow_control.py

local function forget_keys()
  redis.call('UNLINK', keyed, blocked, slots, ready, throttled, quiet_until, quiet_since, debounced)
  blocked_count = 0
end

-- Calls `visit` with every pending entry of the group and its owner.
local function each_pending(visit)
  local first = '-'
  while true do
    local page = redis.call('XPENDING', stream, handler, first, '+', 1000)
    for _, p in ipairs(page) do visit(p[1], p[2]) end
    if #page < 1000 then return end
    first = '(' .. page[#page][1]
  end
end

-- If the number of recorded entries differs, records every pending entry and drops all others: the
-- group was created again, or the handler had other limits before, or none.
local function note_pending(count)
  if redis.call('HLEN', keyed) == count then return end
  local before, values = {}, redis.call('HGETALL', keyed)
  for i = 1, #values, 2 do before[values[i]] = values[i + 1] end
  forget_keys()
  local waiting = {}
  each_pending(function(entry, owner)
    local mark, flow_key, position
    if before[entry] then
      mark, flow_key, position = parse_noted(before[entry])
      if mark == '>' then
        redis.call('HSET', keyed, entry, before[entry])
        return
      end
    else
      flow_key, position = key_of(body_of(entry)), position_of(entry)
    end
    if not flow_key then
      redis.call('HSET', keyed, entry, '.')
      return
    end
    local has_slot = mark == '+'
    if owner == 'blocked' then
      has_slot = false
    elseif not mark then
      has_slot = owner ~= 'scheduled' or flow_control.ordered
    end
    redis.call('HSET', keyed, entry, noted(has_slot and '+' or '-', flow_key, position))
    if has_slot then
      redis.call('HINCRBY', slots, flow_key, 1)
    elseif owner == 'blocked' then
      blocked_count = blocked_count + redis.call('ZADD', blocked, 0, member_of(flow_key, position, entry))
      waiting[flow_key] = true
    end
  end)
  for flow_key in pairs(waiting) do update(flow_key) end
end

-- Updates the keys whose rate allows another delivery by now; all keys after the clock stepped back.
local function end_waits(has_stepped)
  local until_ms = has_stepped and '+inf' or now
  if has_stepped and flow_control.per_second > 0 then
    -- At most a full bucket: else a key would wait until the clock is where it was.
    local latest = now + math.max(1000, 1000 / flow_control.per_second)
    for _, flow_key in ipairs(redis.call('ZRANGEBYSCORE', arrivals, latest, '+inf')) do
      redis.call('ZADD', arrivals, latest, flow_key)
    end
  end
  for _, flow_key in ipairs(redis.call('ZRANGEBYSCORE', throttled, '-inf', until_ms)) do update(flow_key) end
  redis.call('ZREMRANGEBYSCORE', arrivals, '-inf', now)
  if flow_control.fair then
    local at = redis.call('ZSCORE', turns, NOW)
    if at then redis.call('ZREMRANGEBYSCORE', turns, '-inf', '(' .. at) end
  end
end

-- Gives the next blocked entry a slot and returns it; nil if none may run.
local function serve()
  while true do
    local flow_key = redis.call('ZRANGE', ready, 0, 0)[1]
    if not flow_key then return end
    local head = head_of(flow_key)
    if head and has_free_slot(flow_key) and allowed_at(flow_key) <= now then
      local position, entry = string.match(head, '%z([^%z]*)%z([^%z]*)$')
      blocked_count = blocked_count - redis.call('ZREM', blocked, head)
      update(flow_key, start(entry, flow_key, position))
      return entry
    end
    -- The limits were lowered since the key became ready.
    update(flow_key)
  end
end

-- Returns the entries to deliver together with this one, if the handler receives lists. An entry that
-- was begun before runs alone.
local function riders_of(entry)
  local riders = {}
  if flow_control.quiet_ms == 0 or flow_control.keep ~= 'all' or select(3, holder(entry)) > 1 then return riders end
  local _, flow_key = parse_noted(redis.call('HGET', keyed, entry))
  local members = redis.call('ZRANGEBYLEX', blocked, '[' .. flow_key .. '\0', '(' .. flow_key .. '\1')
  for _, member in ipairs(members) do
    local position, rider = string.match(member, '%z([^%z]*)%z([^%z]*)$')
    if #riders < MAX_TOGETHER - 1 and select(3, holder(rider)) == 1 then
      blocked_count = blocked_count - redis.call('ZREM', blocked, member)
      redis.call('HSET', keyed, rider, noted('=', flow_key, position))
      riders[#riders + 1] = rider
    end
  end
  if #riders > 0 then update(flow_key) end
  return riders
end

-- Returns whether an entry may repeat an event. Entries that were coalesced into it must not be lost
-- because it is ignored as a duplicate.
local function may_repeat(entry, kind)
  if kind ~= 'made' and kind ~= 'given' then return true end
  return is_ambiguous(ms_of(entry), ms_of(entry))
end

-- Makes a new entry wait until its key is quiet. Returns the entry that is coalesced, if any, and
-- whether the new one waits.
local function wait_for_quiet(entry, flow_key)
  local at = ms_of(entry)
  redis.call('ZADD', quiet_since, 'NX', at, flow_key)
  local since = tonumber(redis.call('ZSCORE', quiet_since, flow_key))
  redis.call('ZADD', quiet_until, math.min(at + flow_control.quiet_ms, since + flow_control.max_quiet_ms), flow_key)
  local before
  if flow_control.keep ~= 'all' then
    before = redis.call('ZRANGEBYLEX', debounced, '[' .. flow_key .. '\0', '(' .. flow_key .. '\1', 'LIMIT', 0, 1)[1]
  end
  local other = before and string.match(before, '[^%z]*$')
  if other and flow_control.keep == 'first' then
    redis.call('HSET', keyed, entry, '>' .. other)
    return entry, false
  end
  if other then
    redis.call('ZREM', debounced, before)
    redis.call('HSET', keyed, other, '>' .. entry)
  end
  local position = position_of(entry)
  redis.call('ZADD', debounced, 0, member_of(flow_key, position, entry))
  redis.call('HSET', keyed, entry, noted('~', flow_key, position))
  return other, true
end

-- Blocks the entries of keys that were quiet at `read_until` until they get a slot. After the clock
-- stepped back they wait at most `max_quiet_ms`.
local function end_quiet(read_until)
  local over = redis.call('ZRANGEBYSCORE', quiet_until, '-inf', read_until)
  for _, flow_key in ipairs(redis.call('ZRANGEBYSCORE', quiet_until, '(' .. string.format('%.0f', now + flow_control.max_quiet_ms), '+inf')) do
    over[#over + 1] = flow_key
  end
  for _, flow_key in ipairs(over) do
    for _, member in ipairs(redis.call('ZRANGEBYLEX', debounced, '[' .. flow_key .. '\0', '(' .. flow_key .. '\1')) do
      local position, entry = string.match(member, '%z([^%z]*)%z([^%z]*)$')
      redis.call('ZREM', debounced, member)
      block(entry, flow_key, position)
    end
    redis.call('ZREM', quiet_until, flow_key)
    redis.call('ZREM', quiet_since, flow_key)
  end
end
