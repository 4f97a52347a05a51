#!lua flags=allow-oom
-- requeue_chunk: the owner of a chunk requeues the rest of it.
--
-- Guarantee: atomically, the chunk is removed, and each remaining entry is a pending delivery, scheduled at
-- once, without counting an attempt. If the worker does not own the chunk, nothing changes; neither if
-- a process has begun it and only queued chunks are requeued.
--
-- ARGV  handler, chunk id, worker, only queued (1|0)
-- Returns the number of entries.
--! include _chunks.lua
--! include _requeue.lua
local after, upto, _, owner, entries = chunk_of(ARGV[2], ARGV[3])
if not after then return 0 end
if ARGV[4] == '1' and string.sub(owner, 1, 7) ~= 'queued:' then return 0 end
return make_pending(ARGV[2], after, upto, entries)
