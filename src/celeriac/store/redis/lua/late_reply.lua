#!lua flags=allow-oom
--! include _requests.lua
-- late_reply: a reply came after its request had ended.
--
-- KEYS  the counts
-- ARGV  type of the request
redis.call('HINCRBY', counts, counted(ARGV[1]) .. ' late', 1)
