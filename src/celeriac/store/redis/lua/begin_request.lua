#!lua flags=allow-oom
--! include _pending_requests.lua
-- begin_request: a request is pending.
--
-- Guarantee: counted once, however often it is called.
--
-- KEYS  the counts; the pending requests
-- ARGV  mailbox, type, ms after which it is not pending any more
local now = fail_expired()
if redis.call('ZADD', pending, 'NX', now + ARGV[3], ARGV[1] .. ' ' .. ARGV[2]) == 1 then
  local type = counted(ARGV[2])
  redis.call('HINCRBY', counts, type .. ' begun', 1)
  redis.call('HINCRBY', counts, type .. ' pending', 1)
end
