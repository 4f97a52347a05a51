#!lua flags=allow-oom
-- forget: removes an empty domain.
--
-- Guarantee: atomically, all keys of the domain are removed if its log is empty, no group has pending
-- entries, no event is delayed, it has no schedule, no dead letter and no recent action of an operator, and the
-- newest entry that the log ever had is old. Otherwise nothing is removed. An event that is appended at
-- the same time is in the log either before, and the domain stays, or after, and the log begins again.
-- Rows of the matrix stay until they expire, so that event keys stay known.
--
-- KEYS  the keys named below, then all keys of the handlers
-- ARGV  ms without an emitted event, ms for which actions are kept; then the handlers
-- Returns 1 if the domain was removed; see also _groups.lua.
--! keys stream wakeup delayed delayed_events schedules clocks emitted dead dead_groups dead_newest audit_log sources
local ARGUMENTS = 2
--! include _groups.lua
--! include _ms_of.lua
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function fields(list)
  local is = {}
  for i = 1, #list, 2 do is[list[i]] = list[i + 1] end
  return is
end

if redis.call('EXISTS', stream) == 1 then
  local info = fields(redis.call('XINFO', 'STREAM', stream))
  if info['length'] > 0 or ms_of(info['last-generated-id']) > now - tonumber(ARGV[1]) then return 0 end
  for _, is in ipairs(groups) do
    if is['pending'] > 0 then return 0 end
  end
end
if redis.call('ZCARD', delayed) > 0 or redis.call('XLEN', dead) > 0 then return 0 end
if redis.call('HLEN', schedules) > 0 then return 0 end
local action = redis.call('XREVRANGE', audit_log, '+', '-', 'COUNT', 1)[1]
if action and ms_of(action[1]) > now - tonumber(ARGV[2]) then return 0 end
for first = 1, #KEYS, 1000 do
  redis.call('UNLINK', unpack(KEYS, first, math.min(first + 999, #KEYS)))
end
return 1
