#!lua flags=allow-oom
-- progress_chunk: a process reports the first entries of its running chunk, all processed or ignored.
--
-- Guarantee: atomically, if the worker still owns the chunk, the chunk begins after `until`, its lease is
-- renewed, and the run record is stored. Otherwise nothing changes. A repeated call changes nothing.
--
-- ARGV  handler, chunk id, worker, until, entries done, run record or ''
-- Returns 1, or 0 if the worker does not own the chunk, or no longer all of these entries.
--! include _chunks.lua
--! include _run_records.lua
local id, worker, done_until, record = ARGV[2], ARGV[3], ARGV[4], ARGV[6]
local after, upto, count, owner, sparse = chunk_of(id, worker)
if not after or is_less(upto, done_until) then return 0 end
-- Already reported: the reply was lost.
if not is_less(after, done_until) then return 1 end
-- First: it fails on a key of another type.
if record ~= '' then add_run_record(worker, after, done_until, record) end
write_chunk(id, done_until, upto, math.max(0, count - tonumber(ARGV[5])), owner, sparse)
return 1
