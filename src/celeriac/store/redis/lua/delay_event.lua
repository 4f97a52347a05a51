-- delay_event: stores an event that enters the log later (delay=, at=).
--
-- Guarantee: atomically, the event is stored until its time by the server's clock.
--
-- ARGV  the event, delay ms or '', absolute time ms or ''
-- Returns the time ms.
--! keys delayed wakeup
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = ARGV[2] ~= '' and now + tonumber(ARGV[2]) or tonumber(ARGV[3])
-- Half a ms marks a time of day, which does not move when the server's clock steps back.
local score = ARGV[2] ~= '' and at or at + 0.5
redis.call('ZADD', delayed, string.format('%.1f', score), ARGV[1])
-- Always: dispatchers rarely poll a domain without a notification. The script does not check whether
-- the event is the next one, because a service that only emits may have no right to read.
redis.call('XADD', wakeup, 'MAXLEN', 1, '*', 'for', 'delayed')
return at
