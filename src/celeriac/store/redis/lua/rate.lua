#!lua flags=allow-oom
-- rate: a rate limit over all workers of a handler.
--
-- Guarantee: atomically grants at most what the bucket contains. It has room for one second's worth and
-- is refilled at the rate (generic cell rate algorithm, ITU-T I.371: the key is the theoretical arrival
-- time).
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
-- At most a full bucket: a time stored before the clock stepped back would block the whole limit.
local tat = math.min(math.max(tonumber(redis.call('GET', state)) or 0, now), now + depth)
local available = math.floor((now + depth - tat) / step + 1e-9)
local granted = math.max(0, math.min(want, available))
tat = tat + granted * step
redis.call('SET', state, string.format('%.3f', tat), 'PX', math.ceil(tat - now + depth))
return {granted, math.max(0, math.ceil(tat + step - now - depth))}
