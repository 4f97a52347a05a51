#!lua flags=allow-oom
-- begin_chunk: a process begins a queued chunk, of its own or another worker's dispatcher.
--
-- Guarantee: if several processes begin the same chunk, one runs it.
--
-- ARGV  handler, chunk id, worker
-- Returns {after, upto, the ids of a sparse chunk or ''}; false if it is not queued.
--! include _chunks.lua
local stored = redis.call('HGET', chunks, ARGV[2])
if not stored then return false end
local after, upto, count, owner, _, entries = parse_chunk(stored)
if not owner or string.sub(owner, 1, 7) ~= 'queued:' then return false end
write_chunk(ARGV[2], after, upto, count, 'running:' .. ARGV[3], entries)
return {after, upto, entries}
