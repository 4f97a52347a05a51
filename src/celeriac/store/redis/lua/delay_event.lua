-- delay_event: stores an event that enters the log later (delay=, at=).
--
-- Guarantee: atomically, the event is stored until its time by the server's clock. Of events with one token
-- the first stays, with its time.
--
-- ARGV  the event, delay ms or '', absolute time ms or '', then tokens: it takes the first
--       unused one, see event_log/delayed.py
-- Returns the time ms.
--! keys delayed delayed_events wakeup
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = ARGV[2] ~= '' and now + tonumber(ARGV[2]) or tonumber(ARGV[3])
-- Half a ms marks a time of day, which does not move when the server's clock steps back.
local score = ARGV[2] ~= '' and at or at + 0.5
score = string.format('%.1f', score)
local event, is_stored = ARGV[1], false
for i = 4, #ARGV do
  if redis.call('ZADD', delayed, 'NX', score, ARGV[i]) == 1 then
    redis.call('HSET', delayed_events, ARGV[i], event)
    is_stored = true
    break
  end
end
-- Without an unused token it is stored by itself, so that no other event keeps it out.
if not is_stored and #ARGV ~= 4 then redis.call('ZADD', delayed, score, event) end
-- Always: dispatchers rarely poll a domain without a notification. The script does not check whether
-- the event is the next one, because a service that only emits may have no right to read.
redis.call('XADD', wakeup, 'MAXLEN', 1, '*', 'for', 'delayed')
return at
