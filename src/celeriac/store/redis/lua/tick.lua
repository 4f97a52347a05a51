-- tick: the event of a schedule's tick enters the log.
--
-- Guarantee: atomically, the event is appended and the next tick set, if the next tick is the expected one,
-- the definition is the caller's, and the time has come by the server's clock. Else nothing changes. So any
-- number of callers append the event of a tick once. An event whose key is registered is in the log already.
--
-- ARGV  field, definition, expected tick ms, next tick ms, window ms, number of dropped ticks; then, if an
--       event is due: tick ms, the event, and its event key or '' where it is not registered
-- Returns {the record or '', 1 if the event was appended, the server's time ms}
--! keys stream schedules ids older_ids ambiguous
local window = tonumber(ARGV[5])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local record = redis.call('HGET', schedules, ARGV[1]) or ''
local next_tick, last, fired, dropped, definition =
  string.match(record, '^(%d+) (%d+) (%d+) (%d+)\n(.*)$')
local due = tonumber(ARGV[7] or ARGV[3])
if next_tick ~= ARGV[3] or definition ~= ARGV[2] or due > now then return {record, 0, now} end
--! include _append_given.lua
local appended = 0
if ARGV[7] then
  local event_key = ARGV[9]
  if event_key == '' then
    redis.call('XADD', stream, '*', 'event', ARGV[8])
    appended = 1
  else
    look_up({event_key})
    if append_given(event_key, ARGV[8]) then appended = 1 end
  end
  last = ARGV[7]
end
record = string.format('%s %s %.0f %.0f\n%s', ARGV[4], last, fired + appended, dropped + ARGV[6], definition)
redis.call('HSET', schedules, ARGV[1], record)
return {record, appended, now}
