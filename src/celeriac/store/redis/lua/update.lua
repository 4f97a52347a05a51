-- update: a worker that registered a handler updates its record.
--
-- Guarantee: atomically, the record is written unless an operator removed the handler.
--
-- KEYS  handlers
-- ARGV  handler, record, the value that marks a removed handler
-- Returns 1 if it was written.
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[3] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return 1
