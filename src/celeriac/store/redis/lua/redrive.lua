-- redrive: dead letters of one handler become deliveries again.
--
-- Promise: atomically, each named dead letter that is there is gone, and its delivery is scheduled at once
-- with no attempts and no row, its earlier failures kept; if its log entry was trimmed, the event is appended to the log
-- again, addressed to this handler alone. Asked twice, it is done once. Who asked is recorded.
--
-- ARGV  handler, retention window ms, limits of its keys (see _keyed.lua) or '', note (see _audit.lua), then for each: dead letter
--       id, entry, event key, the event addressed to this handler alone
-- Returns how many became deliveries.
--! include _delivery.lua
--! include _matrix.lua
local given_flow = ARGV[3]
--! include _revive.lua
--! include _invalid.lua
--! include _dead.lua
--! include _audit.lua
local done = 0
for i = 5, #ARGV, 4 do
  local letter, entry, event_key, addressed = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  -- First of all, because it fails where the handler was removed, and a script is not rolled back.
  local held = holder(entry)
  if not held and remove_dead(letter) then
    begin_again(event_key, entry, ARGV[4])
    forget_invalid(entry)
    local body = body_of(entry)
    if not body then
      redis.call('XADD', stream, '*', 'redriven', addressed)
    elseif not waiting(entry) then  -- else the group was set back, and is given it in any case
      revive(entry, body)
    end
    done = done + 1
  end
end
if done > 0 then notify() end
audit(ARGV[4], done)
return done
