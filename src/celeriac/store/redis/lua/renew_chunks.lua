#!lua flags=allow-oom
-- renew_chunks: the owner of open chunks renews their leases.
--
-- ARGV  handler, worker, then the chunk ids
-- Returns the ids of chunks that the worker no longer owns.
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
