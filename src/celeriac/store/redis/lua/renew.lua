#!lua flags=allow-oom
-- renew: an executor renews the leases of its running deliveries.
--
-- Guarantee: atomically, the lease of each delivery that this owner still has in this attempt begins
-- again; others are not changed.
--
-- ARGV  handler, owner, then entry, attempt for each
-- Returns the entries that were no longer owned.
--! include _delivery.lua
local owner, lost = ARGV[2], {}
for i = 3, #ARGV, 2 do
  local entry = ARGV[i]
  local owned_by, _, count = holder(entry)
  if owned_by == owner and count == tonumber(ARGV[i + 1]) + 1 then
    redis.call('XCLAIM', stream, handler, owner, 0, entry, 'JUSTID')
  else
    lost[#lost + 1] = entry
  end
end
return lost
