#!lua flags=allow-oom
-- requeue: a dispatcher that stops gives back what it holds queued.
--
-- Promise: atomically, up to `most` deliveries queued by this owner become scheduled at once, with the
-- attempts they had. Hints already sent for them find nothing to claim.
--
-- ARGV  handler, owner, most, limits of its keys (see _keyed.lua) or ''
-- Returns how many were handed back.
--! keys scheduled
--! include _delivery.lua
local given_flow = ARGV[4]
--! include _keyed.lua
local held = redis.call('XPENDING', stream, handler, '-', '+', ARGV[3], ARGV[2])
for _, p in ipairs(held) do
  redis.call('XCLAIM', stream, handler, 'scheduled', 0, p[1], 'JUSTID')
  redis.call('ZADD', scheduled, now, p[1])
  if flow and not flow.ordered then give_up_slot(p[1]) end
end
if #held > 0 then notify() end
return #held
