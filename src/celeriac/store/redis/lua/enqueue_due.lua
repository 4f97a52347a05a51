-- enqueue_due: appends delayed events whose time has come to the log.
--
-- Guarantee: each event moves from the delayed ones to the log in this one atomic call, in the order of
-- their times; with many callers each event still moves once. An event whose key is registered is
-- already in the log, and is dropped.
--
-- ARGV  max events, window ms
-- Returns {moved, time ms of the next or 0}.
--! keys stream delayed delayed_events clocks
local window = tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The server's clock may step back. Events with a delay are then moved along; events with a time of day
-- (see delay_event.lua) stay. Same as in _clock.lua.
local CLOCK_TOLERANCE_MS = 1000
local function correct_times()
  if redis.call('ZCARD', delayed) == 0 then return end
  local noted = redis.call('HGET', clocks, '') or '0 0 0'
  local seen, last_step, stepped_at = string.match(noted, '^(%d+) (%d+) (%d+)$')
  local step = (tonumber(seen) or 0) - now
  if math.abs(step) < CLOCK_TOLERANCE_MS then return end
  if step > 0 then last_step, stepped_at = step, now end
  redis.call('HSET', clocks, '', string.format('%.0f %.0f %.0f', now, last_step or 0, stepped_at or 0))
  if step < 0 then return end
  local stored = redis.call('ZRANGE', delayed, 0, -1, 'WITHSCORES')
  for i = 1, #stored, 2 do
    local at = tonumber(stored[i + 1])
    if at == math.floor(at) then redis.call('ZADD', delayed, string.format('%.0f', at - step), stored[i]) end
  end
end
correct_times()

local ready = redis.call('ZRANGEBYSCORE', delayed, '-inf', now, 'LIMIT', 0, ARGV[1])
local function next_time() return tonumber(redis.call('ZRANGE', delayed, 0, 0, 'WITHSCORES')[2]) or 0 end
if #ready == 0 then return {0, next_time()} end
--! include _append_given.lua
local events = redis.call('HMGET', delayed_events, unpack(ready))
-- A token without a separator is the key under which its event is registered: see event_log/delayed.py.
local event_keys = {}
for i, token in ipairs(ready) do
  if events[i] and not string.find(token, '\31', 1, true) then event_keys[#event_keys + 1] = token end
end
look_up(event_keys)

for i, token in ipairs(ready) do
  local event, event_key = events[i] or token, nil
  if events[i] and not string.find(token, '\31', 1, true) then event_key = token end
  if event_key then
    append_given(event_key, event)
  else
    redis.call('XADD', stream, '*', 'event', event)
  end
  redis.call('ZREM', delayed, token)
  redis.call('HDEL', delayed_events, token)
end
return {#ready, next_time()}
