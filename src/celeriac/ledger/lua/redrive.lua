-- redrive: a dead letter becomes a delivery again.
--
-- Promise: atomically, the dead letter is gone and its delivery is due at once with no attempts
-- and an empty row; if its log entry was trimmed, the event is appended to the log again,
-- addressed to this handler alone. Asked twice, it is done once.
--
-- KEYS  base
-- ARGV  handler, retention window ms, ordered (1|0), dead letter id, entry, event id,
--       the event addressed to this handler alone
-- Returns 1, or 0 if the dead letter is not there (any more).
--! include _keys.lua
--! include _matrix.lua
--! include _lanes.lua
local ordered, letter, entry, id, addressed = ARGV[3] == '1', ARGV[4], ARGV[5], ARGV[6], ARGV[7]
-- First of all, because it fails where the handler was removed, and a script is not rolled back.
if holder(entry) then return 0 end
if redis.call('XDEL', dead, letter) == 0 then return 0 end
forget(id)
forget_invalid(entry)
local body = body_of(entry)
if not body then
  redis.call('XADD', stream, '*', 'event', addressed)
elseif not waiting(entry) then  -- else the group was set back, and is given it in any case
  revive(entry, body, ordered)
end
ring()
return 1
