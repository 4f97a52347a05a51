#!lua flags=allow-oom
-- renew: the holder of running deliveries says that their work is alive.
--
-- Promise: atomically, the lease of each delivery still held by this owner under this attempt
-- begins anew; the others are left alone.
--
-- ARGV  handler, owner, then entry, attempt for each
-- Returns the entries that were no longer held.
--! include _delivery.lua
local owner, lost = ARGV[2], {}
for i = 3, #ARGV, 2 do
  local entry = ARGV[i]
  local held_by, _, count = holder(entry)
  if held_by == owner and count == tonumber(ARGV[i + 1]) + 1 then
    redis.call('XCLAIM', stream, handler, owner, 0, entry, 'JUSTID')
  else
    lost[#lost + 1] = entry
  end
end
return lost
