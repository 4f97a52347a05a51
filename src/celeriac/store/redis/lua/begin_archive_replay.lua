-- begin_archive_replay: records that a replay from an archive begins.
--
-- Guarantee: atomically, the replay becomes that of the handler, at its beginning. Nothing changes if it is
-- the handler's already, unless that one is finished and was started earlier; nor if another one is
-- unfinished, unless this one replaces it. The operator is recorded.
--
-- ARGV  note (see _audit.lua), operation, '1' to replace another one, else '', ms of its start, then fields
--       and values of the replay
-- Returns all fields and values of the handler's replay.
--! keys archive_replay audit_log
local stored = redis.call('HMGET', archive_replay, 'operation', 'finished', 'started')
local operation, finished, started = stored[1], stored[2], tonumber(stored[3])
local begins = not operation
if operation == ARGV[2] then
  begins = finished and started < tonumber(ARGV[4])
elseif operation then
  begins = finished or ARGV[3] == '1'
end
if begins then
  redis.call('HSET', archive_replay, 'operation', ARGV[2], 'started', ARGV[4], unpack(ARGV, 5))
  redis.call('HDEL', archive_replay, 'finished')
  redis.call('XADD', audit_log, 'MAXLEN', '~', 10000, '*', 'note', ARGV[1], 'count', 0)
end
return redis.call('HGETALL', archive_replay)
