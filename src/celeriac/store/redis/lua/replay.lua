-- replay: runs past deliveries of one handler again (replay).
--
-- Guarantee: atomically, for each named delivery that is finished, its row of the matrix and its dead
-- letter are removed, and it becomes scheduled at once, without attempts. A delivery that is pending or
-- waiting, or whose event is in flight in another entry, is not changed. The operator is recorded.
--
-- ARGV  handler, retention window ms, limits of its keys (see _keyed.lua) or '', note (see _audit.lua),
--       then entry, event key for each
-- Returns the number of scheduled deliveries.
--! include _delivery.lua
--! include _matrix.lua
local given_flow_control = ARGV[3]
--! include _revive.lua
--! include _last_run.lua
--! include _dead.lua
--! include _audit.lua
local count = 0
for i = 5, #ARGV, 2 do
  local entry, event_key = ARGV[i], ARGV[i + 1]
  local body = body_of(entry)
  local state, dead_letter, in_flight = last_run(entry, event_key)
  if body and not in_flight and not holder(entry) and not waiting(entry) then
    if state == 'dead' then remove_dead(dead_letter) end
    begin_again(event_key, entry, ARGV[4])
    revive(entry, body)
    count = count + 1
  end
end
if count > 0 then notify() end
audit(ARGV[4], count)
return count
