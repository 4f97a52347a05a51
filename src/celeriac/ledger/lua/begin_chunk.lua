#!lua flags=allow-oom
-- begin_chunk: a process begins a chunk that was queued for it.
--
-- Promise: of many that begin the same chunk, one runs it.
--
-- KEYS  event log, open chunks
-- ARGV  handler, chunk id, worker
-- Returns {after, upto}; false where the worker does not hold it as queued.
--! include _chunks.lua
local worker = ARGV[3]
local after, upto, count, owner = chunk_of(ARGV[2], worker)
if owner ~= 'queued:' .. worker then return false end
write_chunk(ARGV[2], after, upto, count, 'running:' .. worker)
return {after, upto}
