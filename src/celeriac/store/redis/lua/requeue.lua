#!lua flags=allow-oom
-- requeue: a dispatcher that stops requeues its queued deliveries.
--
-- Guarantee: atomically, up to the limit, deliveries queued by this owner become scheduled at once and
-- keep their attempts. Delivery tasks that were already sent for them find nothing to claim.
--
-- ARGV  handler, owner, limit, limits of its keys (see _keyed.lua) or ''
-- Returns the number of requeued deliveries.
--! keys scheduled
--! include _delivery.lua
local given_flow_control = ARGV[4]
--! include _keyed.lua
local queued = redis.call('XPENDING', stream, handler, '-', '+', ARGV[3], ARGV[2])
for _, p in ipairs(queued) do
  redis.call('XCLAIM', stream, handler, 'scheduled', 0, p[1], 'JUSTID')
  redis.call('ZADD', scheduled, now, p[1])
  if flow_control and not flow_control.ordered then give_up_slot(p[1]) end
end
if #queued > 0 then notify() end
return #queued
