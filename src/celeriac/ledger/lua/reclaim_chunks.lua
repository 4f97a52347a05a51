#!lua flags=allow-oom
-- reclaim_chunks: requeue_chunk for each chunk whose lease expired.
--
-- KEYS  event log, open chunks, scheduled deliveries, wakeup stream
-- ARGV  handler, lease ms
-- Returns how many entries.
--! include _chunks.lua
--! include _requeue.lua
local made, all = 0, redis.call('HGETALL', chunks)
for i = 1, #all, 2 do
  local after, upto, _, _, renewed = parse_chunk(all[i + 1])
  if not after then
    -- No chunk: another program wrote it.
    redis.call('HDEL', chunks, all[i])
  elseif now - tonumber(renewed) >= tonumber(ARGV[2]) then
    made = made + make_pending(all[i], after, upto)
  end
end
return made
