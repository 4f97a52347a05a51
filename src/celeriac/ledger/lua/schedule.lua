-- schedule: runs past deliveries of one handler again (replay).
--
-- Promise: atomically, each named delivery that is not pending has its row of the matrix
-- forgotten and becomes due at once with no attempts; one that is pending is left alone.
--
-- KEYS  base
-- ARGV  handler, retention window ms, ordered (1|0), then entry, event id for each
-- Returns how many were scheduled.
--! include _keys.lua
--! include _matrix.lua
--! include _lanes.lua
local ordered, scheduled = ARGV[3] == '1', 0
for i = 4, #ARGV, 2 do
  local entry, id = ARGV[i], ARGV[i + 1]
  local body = body_of(entry)
  if body and not holder(entry) then
    forget(id)
    local owner = 'due'
    if ordered and not enter_lane(entry, body) then owner = 'parked' end
    redis.call('XCLAIM', stream, handler, owner, 0, entry, 'FORCE', 'JUSTID', 'RETRYCOUNT', 1)
    if owner == 'due' then redis.call('ZADD', due, now, entry) end
    scheduled = scheduled + 1
  end
end
if scheduled > 0 then ring() end
return scheduled
