#!lua flags=allow-oom
-- invalid: an entry of the log is no event at all.
--
-- Promise: atomically, the delivery is acknowledged, and the first handler that meets the entry
-- puts it among the dead letters; the others of the domain do not repeat it.
--
-- KEYS  base
-- ARGV  handler, retention window ms, owner, ordered (1|0), entry, error
-- Returns 1 if this call wrote the dead letter.
--! include _keys.lua
--! include _matrix.lua
--! include _lanes.lua
local owner, ordered, entry, err = ARGV[3], ARGV[4] == '1', ARGV[5], ARGV[6]
if holder(entry) ~= owner then return 0 end
local met = base .. 'invalid:' .. generation
local first = redis.call('HSETNX', met, entry, handler)
keep(met)
if first == 1 then
  redis.call('XADD', dead, '*', 'handler', handler, 'entry', entry, 'id', '', 'attempts', 0,
    'error', err, 'traceback', '', 'first_failed', tostring(now), 'last_failed', tostring(now),
    'event', body_of(entry) or '')
  redis.call('HINCRBY', stats, 'dead', 1)
end
redis.call('XACK', stream, handler, entry)
if ordered then leave_lane(entry) end
return first
