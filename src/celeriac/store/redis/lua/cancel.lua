#!lua flags=allow-oom
-- cancel: a delayed event is removed before its time (cancel).
--
-- Guarantee: atomically, the event is removed if it has not entered the log, and never enters it then.
-- Else nothing changes. Reads nothing: a service that only emits can cancel what it emitted.
--
-- ARGV  the tokens of the event: see event_log/delayed.py
-- Returns how many were removed.
--! keys delayed delayed_events
redis.call('ZREM', delayed, unpack(ARGV))
return redis.call('HDEL', delayed_events, unpack(ARGV))
