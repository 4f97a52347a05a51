#!lua flags=allow-oom
-- invalid: a handler completes an entry that is not an event.
--
-- Guarantee: atomically, the delivery is acknowledged. The first handler of the domain that reads the
-- entry writes a dead letter; other handlers do not repeat it.
--
-- ARGV  handler, retention window ms, owner, limits of its keys (see _keyed.lua) or '', entry, error
-- Returns 1 if this call wrote the dead letter.
--! keys stats
--! include _delivery.lua
--! include _matrix.lua
--! include _invalid.lua
local given_flow_control = ARGV[4]
--! include _keyed.lua
--! include _dead.lua
local owner, entry, err = ARGV[3], ARGV[5], ARGV[6]
if holder(entry) ~= owner then return 0 end
local began, longest = current(invalid, older_invalid)
local first = redis.call('HEXISTS', older_invalid, entry) == 0
  and redis.call('HSETNX', invalid, entry, handler) == 1
keep(invalid, began, longest)
if first then
  write_dead(err, 'entry', entry, 'key', '', 'attempts', 0, 'traceback', '',
    'first_failed', tostring(now), 'last_failed', tostring(now), 'event', body_of(entry) or '')
  redis.call('HINCRBY', stats, 'dead', 1)
end
redis.call('XACK', stream, handler, entry)
if flow_control and leave(entry) then notify() end
return first and 1 or 0
