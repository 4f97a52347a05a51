-- Included by scripts that change deliveries of a handler with limits per key. They first define
-- `given_flow_control`: see `pack_flow` in store/redis/delivery_script.py, or ''.
-- The hash `keyed` has each pending entry: `.` if no code of the handler wants it; `>` and the entry
-- that is handled in its place if it was coalesced. Otherwise its position and key follow a mark: `+`
-- if it has a slot of its key, `=` if it is delivered together with an entry that has one, `~` if it
-- waits until its key is quiet, `-` if it waits for a slot or for its time. Blocked entries are pending
-- under the owner `blocked`, and in the sorted set `blocked`, lexicographically by key and position.
-- `slots` counts the used slots of each key. A key with blocked entries and a free slot is in `ready`,
-- by the virtual time or the position of its next delivery, or in `throttled`, by the ms at which its
-- rate allows the next. `arrivals` has the arrival times of the generic cell rate algorithm, `turns`
-- the virtual time and the finish times of keys that are behind it.
--! keys stream keyed blocked slots ready throttled arrivals turns
--! include _notify.lua
local flow_control = given_flow_control ~= '' and cmsgpack.unpack(given_flow_control) or nil
local blocked_count = flow_control and redis.call('ZCARD', blocked) or 0
local NOW = '\0'  -- the member of `turns` that is the virtual time; no key has a NUL

-- Makes numbers of any length sort by their value.
local function sortable(digits) return string.char(64 + #digits) .. digits end

local function position_of(entry)
  local ms, sequence = string.match(entry, '^(%d+)-(%d+)$')
  return sortable(ms) .. sortable(sequence)
end

-- The position of an entry that runs again: after all that the log has now.
local function position_behind_all(entry)
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then return position_of(info[i + 1]) .. 'r' .. position_of(entry) end
  end
end

local function order_of(position)
  local ms, sequence = string.match(position, '^%u(%d+)%u(%d+)')
  return tonumber(ms) + math.min(tonumber(sequence), 4095) / 4096
end

local function member_of(flow_key, position, entry) return flow_key .. '\0' .. position .. '\0' .. entry end
local function noted(mark, flow_key, position) return mark .. position .. '\0' .. flow_key end

-- Returns the mark, the key and the position of a pending entry; without a key, the mark and what
-- follows it.
local function parse_noted(value)
  if string.find(value, '^[.>]') then return string.sub(value, 1, 1), nil, string.sub(value, 2) end
  local mark, position, flow_key = string.match(value, '^(.)([^%z]*)%z(.*)$')
  return mark, flow_key, position
end

local function head_of(flow_key)
  return redis.call('ZRANGEBYLEX', blocked, '[' .. flow_key .. '\0', '(' .. flow_key .. '\1', 'LIMIT', 0, 1)[1]
end

-- Returns the step and the depth of the bucket of a key, and its arrival time: as in rate.lua.
local function bucket_of(flow_key)
  local step = 1000 / flow_control.per_second
  local depth = math.max(1000, step)
  return step, depth, math.min(math.max(tonumber(redis.call('ZSCORE', arrivals, flow_key)) or 0, now), now + depth)
end

local function allowed_at(flow_key)
  if flow_control.per_second == 0 then return now end
  local step, depth, arrival = bucket_of(flow_key)
  return math.max(now, math.ceil(arrival + step - depth - 1e-6))
end

local function has_free_slot(flow_key)
  return flow_control.concurrency == 0 or (tonumber(redis.call('HGET', slots, flow_key)) or 0) < flow_control.concurrency
end

local function virtual_start(flow_key)
  local at = tonumber(redis.call('ZSCORE', turns, NOW)) or 0
  return math.max(at, tonumber(redis.call('ZSCORE', turns, flow_key)) or 0), at
end

-- Records what the blocked entries of a key wait for. Returns false if that is a slot, or if there are
-- no blocked entries. `used` is the number of its used slots, if known.
local function update(flow_key, used)
  local is_free = not used and has_free_slot(flow_key)
  if used then is_free = flow_control.concurrency == 0 or used < flow_control.concurrency end
  local head = is_free and blocked_count > 0 and head_of(flow_key)
  if not head then
    redis.call('ZREM', ready, flow_key)
    if flow_control.per_second > 0 then redis.call('ZREM', throttled, flow_key) end
    return false
  end
  local at = allowed_at(flow_key)
  if at > now then
    redis.call('ZREM', ready, flow_key)
    redis.call('ZADD', throttled, at, flow_key)
    return true
  end
  if flow_control.per_second > 0 then redis.call('ZREM', throttled, flow_key) end
  if not flow_control.fair then
    redis.call('ZADD', ready, order_of(string.match(head, '%z([^%z]*)%z[^%z]*$')), flow_key)
  elseif not redis.call('ZSCORE', ready, flow_key) then
    redis.call('ZADD', ready, (virtual_start(flow_key)), flow_key)
  end
  return true
end

-- Gives an entry a slot; returns the number of used slots of its key.
local function start(entry, flow_key, position)
  redis.call('HSET', keyed, entry, noted('+', flow_key, position))
  local used = redis.call('HINCRBY', slots, flow_key, 1)
  if flow_control.per_second > 0 then
    local step, _, arrival = bucket_of(flow_key)
    redis.call('ZADD', arrivals, arrival + step, flow_key)
  end
  if flow_control.fair then
    -- Start-time fair queueing (Goyal, Vin and Cheng, 1996), each delivery at the same cost.
    local earliest, at = virtual_start(flow_key)
    local begin = tonumber(redis.call('ZSCORE', ready, flow_key)) or earliest
    redis.call('ZREM', ready, flow_key)
    redis.call('ZADD', turns, math.max(at, begin), NOW)
    redis.call('ZADD', turns, begin + 1 / (flow_control.weights[flow_key] or 1), flow_key)
  end
  return used
end

local function block(entry, flow_key, position, is_full)
  redis.call('HSET', keyed, entry, noted('-', flow_key, position))
  blocked_count = blocked_count + redis.call('ZADD', blocked, 0, member_of(flow_key, position, entry))
  if not is_full then update(flow_key) end
end

-- Gives a pending entry a slot if it may have one now, else blocks it. Returns true if it has one.
local function enter(entry, flow_key, position, has_room)
  local is_full = not has_free_slot(flow_key)
  local has_turn = not is_full and has_room and not (flow_control.fair and redis.call('ZCARD', ready) > 0)
  if has_turn and allowed_at(flow_key) <= now and not (blocked_count > 0 and head_of(flow_key)) then
    start(entry, flow_key, position)
    return true
  end
  block(entry, flow_key, position, is_full)
  return false
end

-- Frees the slot of an entry, or removes it from the blocked ones. Returns true if this unblocks an
-- entry behind it.
local function withdraw(entry, mark, flow_key, position)
  local used
  if mark ~= '+' then
    blocked_count = blocked_count - redis.call('ZREM', blocked, member_of(flow_key, position, entry))
  else
    used = redis.call('HINCRBY', slots, flow_key, -1)
    if used <= 0 then redis.call('HDEL', slots, flow_key) end
    if blocked_count == 0 then return false end
  end
  return update(flow_key, used)
end

-- Makes an entry wait for its time instead of its key; returns as above.
local function give_up_slot(entry)
  local value = redis.call('HGET', keyed, entry)
  local mark, flow_key, position = parse_noted(value or '.')
  if not flow_key then return false end
  if mark ~= '-' then redis.call('HSET', keyed, entry, noted('-', flow_key, position)) end
  return withdraw(entry, mark, flow_key, position)
end

-- Removes a finished entry; returns as above.
local function leave(entry)
  local value = redis.call('HGET', keyed, entry)
  if not value then return false end
  redis.call('HDEL', keyed, entry)
  local mark, flow_key, position = parse_noted(value)
  return flow_key ~= nil and withdraw(entry, mark, flow_key, position)
end
