#!lua flags=allow-oom
-- open_replies: a request creates its mailbox.
--
-- Guarantee: atomically, the mailbox exists, for the given time at most.
--
-- KEYS  the mailbox
-- ARGV  ms for which it is kept
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('XADD', KEYS[1], '0-1', 'open', '') end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
