-- redrive: dead letters of one handler become deliveries again.
--
-- Guarantee: atomically, for each named dead letter that exists, the dead letter is removed and its
-- delivery is scheduled at once, without attempts and row; its earlier failures are kept. If its log
-- entry was trimmed, the event is appended again for this handler only. A repeated call changes
-- nothing. The operator is recorded.
--
-- ARGV  handler, retention window ms, limits of its keys (see _keyed.lua) or '', note (see _audit.lua),
--       then for each: dead letter id, entry, event key, the event addressed to this handler only
-- Returns the number of redriven dead letters.
--! include _delivery.lua
--! include _matrix.lua
local given_flow_control = ARGV[3]
--! include _revive.lua
--! include _invalid.lua
--! include _dead.lua
--! include _audit.lua
local done = 0
for i = 5, #ARGV, 4 do
  local dead_letter, entry, event_key, addressed = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  -- First, because it fails if the handler was removed, and a script is not rolled back.
  local pending_owner = holder(entry)
  if not pending_owner and remove_dead(dead_letter) then
    begin_again(event_key, entry, ARGV[4])
    forget_invalid(entry)
    local body = body_of(entry)
    if not body then
      redis.call('XADD', stream, '*', 'redriven', addressed)
    elseif not waiting(entry) then  -- otherwise the group was set back and reads the entry anyway
      revive(entry, body)
    end
    done = done + 1
  end
end
if done > 0 then notify() end
audit(ARGV[4], done)
return done
