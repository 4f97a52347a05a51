#!lua flags=no-writes
-- backlog: returns the number of unfinished entries of a domain.
--
-- Guarantee: reads, atomically, the slowest handler's backlog: its undelivered and its unfinished
-- entries; and the number of delayed events. Finished entries that are only retained do not count.
--
-- KEYS  the keys named below, then the open chunks of each handler
-- ARGV  the handlers
-- Returns {events, the slowest handler, or '' if none has a backlog}; see also _groups.lua.
--! keys stream delayed
local delayed_count = redis.call('ZCARD', delayed)
if redis.call('EXISTS', stream) == 0 then return {delayed_count, ''} end

local ARGUMENTS = 0
--! include _groups.lua
--! include _ms_of.lua
local NAMED = #KEYS - known


-- Redis reports no lag for a group that began at a point in time or was set back. The lag is then
-- estimated from the time that the group is behind: counting would read all entries.
local function estimate(delivered)
  local length = redis.call('XLEN', stream)
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if not first then return 0 end
  local from, to, at = ms_of(first[1]), ms_of(last[1]), ms_of(delivered)
  if at < from then return length end
  if at >= to then return 0 end
  return math.ceil(length * (to - at) / (to - from))
end

-- Returns the number of entries in a group's open chunks (see _chunks.lua). They are not pending.
local function in_chunks(handler)
  local chunks, count = KEYS[NAMED + place_of[handler]], 0
  if redis.call('TYPE', chunks)['ok'] ~= 'hash' then return 0 end
  for _, chunk in ipairs(redis.call('HVALS', chunks)) do
    count = count + tonumber(string.match(chunk, '^%d+%-%d+ %d+%-%d+ (%d+) ') or 0)
  end
  return count
end

local backlog, slowest = 0, ''
for _, is in ipairs(groups) do
  local behind = (is['lag'] or estimate(is['last-delivered-id'])) + is['pending'] + in_chunks(is['name'])
  if behind > backlog then backlog, slowest = behind, is['name'] end
end
return {backlog + delayed_count, slowest}
