-- postpone: an event is accepted now and enters the log later (delay=, at=).
--
-- Promise: atomically, the event is held until its time by the server's clock.
--
-- ARGV  the event, delay ms or '', absolute time ms or ''
-- Returns the time ms.
--! keys delayed wakeup
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = ARGV[2] ~= '' and now + tonumber(ARGV[2]) or tonumber(ARGV[3])
-- The half of a ms marks a time of day, which stays where it is when the server's clock is set back.
local score = ARGV[2] ~= '' and at or at + 0.5
redis.call('ZADD', delayed, string.format('%.1f', score), ARGV[1])
-- Whatever the time: dispatchers ask seldom for domains that nobody rings for. Whether it is the next
-- one is not looked at, for a service that only emits may not read.
redis.call('XADD', wakeup, 'MAXLEN', 1, '*', 'for', 'delayed')
return at
