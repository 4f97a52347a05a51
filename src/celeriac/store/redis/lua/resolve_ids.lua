#!lua flags=allow-oom
-- resolve_ids: a worker notes which entry is the first of an event (see log/lua/append_once.lua).
--
-- Promise: each registered value is replaced while it is what the worker had read, in whichever
-- generation it is. So it does not matter how many workers look for the first entry at once.
--
-- ARGV  for each event: event key, the value that was read, the new value
-- Returns how many were replaced.
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
