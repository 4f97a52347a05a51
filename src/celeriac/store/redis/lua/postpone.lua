-- postpone: an event is accepted now and enters the log later (delay=, at=).
--
-- Promise: atomically, the event is held until its time by the server's clock. Of events with one token
-- the first stays, with its time.
--
-- ARGV  the event, delay ms or '', absolute time ms or '', then the tokens of which it takes the first
--       that is unused: see event_log/delayed.py
-- Returns the time ms.
--! keys delayed delayed_events wakeup
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local at = ARGV[2] ~= '' and now + tonumber(ARGV[2]) or tonumber(ARGV[3])
-- The half of a ms marks a time of day, which stays where it is when the server's clock is set back.
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
-- Whatever the time: dispatchers ask seldom for domains that nobody rings for. Whether it is the next
-- one is not looked at, for a service that only emits may not read.
redis.call('XADD', wakeup, 'MAXLEN', 1, '*', 'for', 'delayed')
return at
