-- Included by scripts that register event keys, which define before:
--   ids, older_ids  hashes of two generations: event key → the entry of the event
--   ambiguous       string: intervals of time with entries that may repeat an event
--   window, now     ms
-- The current generation is written, both are read. It becomes the older one when it is a window old.
-- Each expires two windows after it began. So a key is known for one to two windows.

-- In each generation, this field has the ms at which it began and the longest window it is kept for.
-- No event has an empty key.
local MARK = ''

-- The mark of a generation; false where it is not there. What is no hash is removed: a script that
-- failed after its first XADD would append the event again with each try.
local function mark_of(key)
  local mark = redis.pcall('HGET', key, MARK)
  if type(mark) ~= 'table' then return mark end
  redis.call('UNLINK', key)
  return false
end

local is_older, mark = mark_of(older_ids), mark_of(ids)
local began, longest = string.match(mark or '', '^(%d+) (%d+)$')
began, longest = tonumber(began or ''), tonumber(longest or '')
if began and now - began >= window then
  redis.call('UNLINK', older_ids)
  redis.call('RENAME', ids, older_ids)
  is_older, began, longest = mark, nil, nil
end

-- The entry under which an event key is registered, or nil.
local function registered(event_key)
  local known = redis.call('HGET', ids, event_key) or is_older and redis.call('HGET', older_ids, event_key)
  return known and string.match(known, '^%d+%-%d+')
end

-- To be called with a key that is not registered.
local function register(event_key, value)
  redis.call('HSET', ids, event_key, value)
  if began and longest >= window then return end
  began, longest = began or now, window
  redis.call('HSET', ids, MARK, string.format('%.0f %.0f', began, window))
  redis.call('PEXPIREAT', ids, string.format('%.0f', began + 2 * window))
end

local MAX_INTERVALS = 16

-- Notes that entries of this time may repeat an event. Close intervals become one; where there are
-- too many, so do the oldest two.
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
  for i, one in ipairs(kept) do kept[i] = string.format('%.0f:%.0f', one[1], one[2]) end
  redis.call('SET', ambiguous, table.concat(kept, ' '), 'PX', string.format('%.0f', last - now + 2 * window))
end
