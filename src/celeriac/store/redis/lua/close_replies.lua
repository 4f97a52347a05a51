#!lua flags=allow-oom
-- close_replies: a request ends.
--
-- Guarantee: atomically, the mailbox is gone, and each reply that was put into it was read, now or before.
--
-- KEYS  the mailbox
-- ARGV  the entry up to which it was read
-- Returns the entries after that.
local rest = redis.call('XRANGE', KEYS[1], '(' .. ARGV[1], '+')
redis.call('UNLINK', KEYS[1])
return rest
