#!lua flags=allow-oom
-- reclaim_chunks: requeues each chunk whose lease expired. Entries of a chunk that a process had begun
-- lose a run.
--
-- ARGV  handler, lease ms
-- Returns the number of entries.
--! include _chunks.lua
--! include _requeue.lua
local made, all = 0, redis.call('HGETALL', chunks)
for i = 1, #all, 2 do
  local after, upto, count, owner, renewed, entries = parse_chunk(all[i + 1])
  if not after then
    -- Not a chunk: another program wrote it.
    redis.call('HDEL', chunks, all[i])
  elseif tonumber(renewed) > now then
    -- After the server's clock stepped back, a lease lasts at most its full length from now.
    write_chunk(all[i], after, upto, count, owner, entries)
  elseif now - tonumber(renewed) >= tonumber(ARGV[2]) then
    made = made + make_pending(all[i], after, upto, entries, string.match(owner, '^[^:]*'))
  end
end
return made
