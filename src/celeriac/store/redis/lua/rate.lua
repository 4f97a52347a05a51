#!lua flags=allow-oom
-- rate: a rate limit over all workers of a handler.
--
-- Promise: atomically grants at most what a bucket of one second's worth, refilled at the rate,
-- holds (generic cell rate algorithm, ITU-T I.371; one key, one number: the theoretical arrival time).
--
-- KEYS  the state of the handler's limit
-- ARGV  wanted, rate per second
-- Returns {granted, ms until the next would be granted}.
local state = KEYS[1]
local want, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + clock[2] / 1000
local step = 1000 / rate
local depth = math.max(1000, step)
-- No later than a full bucket: what was stored before the clock stepped back would hold all of it.
local tat = math.min(math.max(tonumber(redis.call('GET', state)) or 0, now), now + depth)
local room = math.floor((now + depth - tat) / step + 1e-9)
local granted = math.max(0, math.min(want, room))
tat = tat + granted * step
redis.call('SET', state, string.format('%.3f', tat), 'PX', math.ceil(tat - now + depth))
return {granted, math.max(0, math.ceil(tat + step - now - depth))}
