#!lua flags=allow-oom
-- requeue_chunk: the owner of a chunk gives back what is left of it.
--
-- Promise: atomically, the chunk is gone, and each entry that was left is a pending delivery, scheduled at
-- once, with no attempt counted. Where the worker does not hold the chunk, nothing changes; nor where
-- a process has begun it and only queued chunks are requeued.
--
-- ARGV  handler, chunk id, worker, only queued (1|0)
-- Returns how many entries.
--! include _chunks.lua
--! include _requeue.lua
local after, upto, _, owner, entries = chunk_of(ARGV[2], ARGV[3])
if not after then return 0 end
if ARGV[4] == '1' and string.sub(owner, 1, 7) ~= 'queued:' then return 0 end
return make_pending(ARGV[2], after, upto, entries)
