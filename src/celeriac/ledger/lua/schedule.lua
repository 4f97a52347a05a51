-- schedule: runs past deliveries of one handler again (replay).
--
-- Promise: atomically, each named delivery that is not pending has its row of the matrix
-- forgotten and becomes due at once with no attempts; one that is pending or still waiting is left
-- alone.
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
  if body and not holder(entry) and not waiting(entry) then
    forget(id)
    revive(entry, body, ordered)
    scheduled = scheduled + 1
  end
end
if scheduled > 0 then ring() end
return scheduled
