#!lua flags=allow-oom
-- requeue_chunk: the owner of a chunk requeues the rest of it, or its end.
--
-- Guarantee: atomically, the chunk is removed or ends with the given entry, and each entry that it had after
-- that is a pending delivery, scheduled at once, without counting an attempt. If the worker does not own the
-- chunk, nothing changes; neither if a process has begun it and only queued chunks are requeued.
--
-- ARGV  handler, chunk id, worker, only queued (1|0), the last entry that stays or ''
-- Returns the number of entries.
--! include _chunks.lua
--! include _requeue.lua
local after, upto, count, owner, entries = chunk_of(ARGV[2], ARGV[3])
if not after then return 0 end
if ARGV[4] == '1' and string.sub(owner, 1, 7) ~= 'queued:' then return 0 end
local last = ARGV[5]
if last == '' or not is_after(last, after) then return make_pending(ARGV[2], after, upto, entries) end
if not is_after(upto, last) then return 0 end
local made = make_pending(ARGV[2], last, upto, entries)
write_chunk(ARGV[2], after, last, math.max(1, count - made), owner, entries)
return made
