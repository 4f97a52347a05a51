#!lua flags=allow-oom
-- renew_chunks: the owner of open chunks renews their leases.
--
-- ARGV  handler, worker, then the chunk ids
-- Returns the ids that the worker does not hold any more.
--! include _chunks.lua
local lost = {}
for i = 3, #ARGV do
  local after, upto, count, owner, entries = chunk_of(ARGV[i], ARGV[2])
  if owner then
    write_chunk(ARGV[i], after, upto, count, owner, entries)
  else
    lost[#lost + 1] = ARGV[i]
  end
end
return lost
