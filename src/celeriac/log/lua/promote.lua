-- promote: postponed events whose time has come enter the log.
--
-- Promise: each moves from the postponed to the log in this one atomic call, in the order of
-- their times; many callers promote each event once.
--
-- KEYS  base
-- ARGV  most
-- Returns {moved, time ms of the next or 0}.
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local delayed = KEYS[1] .. 'delayed'
local ready = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, ARGV[1])
for _, event in ipairs(ready) do
  redis.call('XADD', KEYS[1] .. 'events', '*', 'event', event)
  redis.call('ZREM', delayed, event)
end
return {#ready, tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) or 0}
