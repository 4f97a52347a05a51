#!lua flags=allow-oom
--! include _pending_requests.lua
-- read_requests: returns the counts of requests, without expired ones among the pending.
--
-- KEYS  the counts; the pending requests
fail_expired()
return redis.call('HGETALL', counts)
