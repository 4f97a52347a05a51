#!lua flags=no-writes
-- backlog: how much of a domain's log is not finished.
--
-- Promise: reads, atomically, the handler that is furthest behind: what it was not given yet and
-- what it was given and has not finished; and how much is postponed. What is finished and only kept
-- by the retention counts nothing.
--
-- KEYS  those that are named below, then the open chunks of each handler
-- ARGV  the handlers
-- Returns {events, the handler, or '' where nobody is behind}; see also _groups.lua.
--! keys stream delayed
local postponed = redis.call('ZCARD', delayed)
if redis.call('EXISTS', stream) == 0 then return {postponed, ''} end

local ARGUMENTS = 0
--! include _groups.lua
local NAMED = #KEYS - known

local function time_of(id) return tonumber(string.match(id, '^%d+')) end

-- Where Redis cannot tell how many entries are ahead of a group (it began at a point in time, or was
-- set back), it is estimated by the time that the group is behind: counting would read them all.
local function estimate(delivered)
  local length = redis.call('XLEN', stream)
  local first = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  local last = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)[1]
  if not first then return 0 end
  local from, to, at = time_of(first[1]), time_of(last[1]), time_of(delivered)
  if at < from then return length end
  if at >= to then return 0 end
  return math.ceil(length * (to - at) / (to - from))
end

-- How many entries are in the open chunks of a group (see ledger/lua/_chunks.lua). They are not pending.
local function in_chunks(handler)
  local chunks, count = KEYS[NAMED + place_of[handler]], 0
  if redis.call('TYPE', chunks)['ok'] ~= 'hash' then return 0 end
  for _, chunk in ipairs(redis.call('HVALS', chunks)) do
    count = count + tonumber(string.match(chunk, '^%d+%-%d+ %d+%-%d+ (%d+) ') or 0)
  end
  return count
end

local most, slowest = 0, ''
for _, is in ipairs(groups) do
  local behind = (is['lag'] or estimate(is['last-delivered-id'])) + is['pending'] + in_chunks(is['name'])
  if behind > most then most, slowest = behind, is['name'] end
end
return {most + postponed, slowest}
