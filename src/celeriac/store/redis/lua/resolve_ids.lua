#!lua flags=allow-oom
-- resolve_ids: a worker records which entry is the first of an event (see append_once.lua).
--
-- Guarantee: each registered value is replaced only while it is the value that the worker read, in
-- whichever generation it is. So several workers may search for the first entry at the same time.
--
-- ARGV  for each event: event key, the value that was read, the new value
-- Returns the number of replaced values.
--! keys ids older_ids
local replaced = 0
for i = 1, #ARGV, 3 do
  for _, generation in ipairs({ids, older_ids}) do
    if redis.call('HGET', generation, ARGV[i]) == ARGV[i + 1] then
      redis.call('HSET', generation, ARGV[i], ARGV[i + 2])
      replaced = replaced + 1
    end
  end
end
return replaced
