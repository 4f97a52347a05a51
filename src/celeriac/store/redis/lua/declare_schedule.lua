#!lua flags=allow-oom
-- declare_schedule: a worker declares a schedule of its code.
--
-- Guarantee: atomically, a schedule that is new, or has another definition, begins with the given next tick.
-- One that is there as it is declared is left alone: what it has missed stays missed.
--
-- ARGV  field, definition, next tick ms
-- Returns {the record, the server's time ms}. A record is `next last fired dropped`, a newline, the definition.
--! keys schedules
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local record = redis.call('HGET', schedules, ARGV[1]) or ''
local last, fired, dropped, definition = string.match(record, '^%d+ (%d+) (%d+) (%d+)\n(.*)$')
if definition ~= ARGV[2] then
  record = string.format('%s %s %s %s\n%s', ARGV[3], last or 0, fired or 0, dropped or 0, ARGV[2])
  redis.call('HSET', schedules, ARGV[1], record)
end
return {record, now}
