-- postpone: an event is accepted now and enters the log later (delay=, at=).
--
-- Promise: atomically, the event is held until its time by the server's clock.
--
-- KEYS  base
-- ARGV  the event, delay ms or '', absolute time ms or ''
-- Returns the time ms.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = ARGV[2] ~= '' and now + tonumber(ARGV[2]) or tonumber(ARGV[3])
redis.call('ZADD', KEYS[1] .. 'delayed', at, ARGV[1])
-- Dispatchers know when the next one falls due: they are woken for one that is earlier.
if redis.call('ZRANGE', KEYS[1] .. 'delayed', 0, 0)[1] == ARGV[1] then
  redis.call('XADD', KEYS[1] .. 'bell', 'MAXLEN', 1, '*', 'for', 'delayed')
end
return at
