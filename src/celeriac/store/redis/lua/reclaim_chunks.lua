#!lua flags=allow-oom
-- reclaim_chunks: requeue_chunk for each chunk whose lease expired. The entries of one that a process
-- had begun lose a run.
--
-- ARGV  handler, lease ms
-- Returns how many entries.
--! include _chunks.lua
--! include _requeue.lua
local made, all = 0, redis.call('HGETALL', chunks)
for i = 1, #all, 2 do
  local after, upto, count, owner, renewed, entries = parse_chunk(all[i + 1])
  if not after then
    -- No chunk: another program wrote it.
    redis.call('HDEL', chunks, all[i])
  elseif tonumber(renewed) > now then
    -- The server's clock stepped back: the lease lasts no longer than its length from here on.
    write_chunk(all[i], after, upto, count, owner, entries)
  elseif now - tonumber(renewed) >= tonumber(ARGV[2]) then
    made = made + make_pending(all[i], after, upto, entries, string.match(owner, '^[^:]*'))
  end
end
return made
