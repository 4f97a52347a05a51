#!lua flags=allow-oom
--! include _pending_requests.lua
-- end_request: a pending request ended.
--
-- Guarantee: counted once, however often it is called.
--
-- KEYS  the counts; the pending requests
-- ARGV  mailbox, type, outcome, bucket and µs of the time until its last reply
if redis.call('ZREM', pending, ARGV[1] .. ' ' .. ARGV[2]) == 1 then
  local type = counted(ARGV[2])
  redis.call('HINCRBY', counts, type .. ' pending', -1)
  redis.call('HINCRBY', counts, type .. ' ' .. ARGV[3], 1)
  if ARGV[3] == 'replied' then
    redis.call('HINCRBY', counts, type .. ' took ' .. ARGV[4], 1)
    redis.call('HINCRBY', counts, type .. ' took us', ARGV[5])
  end
end
fail_expired()
