#!lua flags=allow-oom
-- forget: removes a domain that holds nothing.
--
-- Promise: atomically, all keys of the domain are removed if its log is empty, no group has pending
-- entries, nothing is postponed, no dead letter and no recent action of an operator is there, and the
-- newest entry that the log ever had is old. Else nothing is removed. An event that is appended in the
-- meantime is in the log either before, and the domain stays, or after, and the log begins again. Rows of the matrix stay
-- until they expire, so that an event key is still known.
--
-- KEYS  base
-- ARGV  ms for which nothing was emitted, ms for which actions are kept
-- Returns 1 if it was removed.
local base = KEYS[1]
local stream = base .. 'events'
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function fields(list)
  local is = {}
  for i = 1, #list, 2 do is[list[i]] = list[i + 1] end
  return is
end
local function ms_of(id) return tonumber(string.match(id, '^%d+')) end

local doomed = {stream}
for _, name in ipairs({'bell', 'delayed', 'clock', 'emitted', 'dead', 'dead_groups', 'dead_newest', 'audit', 'sources'}) do
  doomed[#doomed + 1] = base .. name
end
if redis.call('EXISTS', stream) == 1 then
  local info = fields(redis.call('XINFO', 'STREAM', stream))
  if info['length'] > 0 or ms_of(info['last-generated-id']) > now - tonumber(ARGV[1]) then return 0 end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local is = fields(group)
    if is['pending'] > 0 then return 0 end
    for _, kind in ipairs({'due:', 'stats:', 'tally:', 'patterns:', 'lanes:', 'lost:', 'chunks:', 'runs:'}) do
      doomed[#doomed + 1] = base .. kind .. is['name']
    end
  end
end
if redis.call('ZCARD', base .. 'delayed') > 0 or redis.call('XLEN', base .. 'dead') > 0 then return 0 end
local act = redis.call('XREVRANGE', base .. 'audit', '+', '-', 'COUNT', 1)[1]
if act and ms_of(act[1]) > now - tonumber(ARGV[2]) then return 0 end
redis.call('UNLINK', unpack(doomed))
return 1
