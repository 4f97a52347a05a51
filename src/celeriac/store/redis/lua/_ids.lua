-- Included by scripts that register event keys. They first define `window` and `now` in ms.
-- `ids` and `older_ids` are two generations: event key → the entry of the event. `ambiguous` has
-- intervals of time with entries that may repeat an event.
--! keys ids older_ids ambiguous
-- The current generation is written, both are read. It becomes the older one when it is a window old.
-- Each expires two windows after it began. So a key stays registered for one to two windows.

-- In each generation, this field has the ms at which it began and the longest window it is kept for.
-- No event has an empty key.
local MARK = ''

-- Event key → the value that it is registered with, for the keys that were looked up.
local values_of = {}

-- Reads the values of event keys and returns the mark of a generation. A key that is not a hash is
-- removed: otherwise the script would fail after its XADD and append the event again at each retry.
local function read_generation(key, event_keys)
  local values = redis.pcall('HMGET', key, MARK, unpack(event_keys))
  if values.err then
    redis.call('UNLINK', key)
    return ''
  end
  for i, event_key in ipairs(event_keys) do
    if values[i + 1] then values_of[event_key] = values[i + 1] end
  end
  return values[1] or ''
end

local began, longest

-- Call this first, with all event keys of the call: hundreds at most.
local function look_up(event_keys)
  read_generation(older_ids, event_keys)
  began, longest = string.match(read_generation(ids, event_keys), '^(%d+) (%d+)$')
  began, longest = tonumber(began or ''), tonumber(longest or '')
  if began and now - began >= window then
    redis.call('UNLINK', older_ids)
    redis.call('RENAME', ids, older_ids)
    began, longest = nil, nil
  end
end

-- Returns the entry that an event key is registered with, or nil. For a contested id it also returns
-- the entry: a foreign producer used the id, or a handler refused the event. A contested id does not
-- keep later events out of the log.
local function registered(event_key)
  local value = values_of[event_key]
  local entry = value and string.match(value, '^%d+%-%d+')
  if entry and string.sub(value, -1) == '!' then return nil, entry end
  return entry
end

-- Call this only with a key that is not registered.
local function register(event_key, value)
  values_of[event_key] = value
  redis.call('HSET', ids, event_key, value)
  if began and longest >= window then return end
  began, longest = began or now, window
  redis.call('HSET', ids, MARK, string.format('%.0f %.0f', began, window))
  redis.call('PEXPIREAT', ids, string.format('%.0f', began + 2 * window))
end

local MAX_INTERVALS = 16

-- Records that entries of this time may repeat an event. Close intervals are merged; above the limit,
-- so are the oldest two.
local function note_ambiguous(first, last)
  local noted, kept = redis.pcall('GET', ambiguous), {}
  for from, to in string.gmatch(type(noted) == 'string' and noted or '', '(%d+):(%d+)') do
    from, to = tonumber(from), tonumber(to)
    if to >= now - 2 * window then kept[#kept + 1] = {from, to} end
  end
  local newest = kept[#kept]
  if newest and first <= newest[2] + 60000 then
    newest[1], newest[2] = math.min(newest[1], first), math.max(newest[2], last)
  else
    kept[#kept + 1] = {first, last}
  end
  while #kept > MAX_INTERVALS do
    kept[2][1], kept[2][2] = math.min(kept[1][1], kept[2][1]), math.max(kept[1][2], kept[2][2])
    table.remove(kept, 1)
  end
  for i, interval in ipairs(kept) do kept[i] = string.format('%.0f:%.0f', interval[1], interval[2]) end
  redis.call('SET', ambiguous, table.concat(kept, ' '), 'PX', string.format('%.0f', last - now + 2 * window))
end
