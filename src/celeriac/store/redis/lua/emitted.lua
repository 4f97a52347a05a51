#!lua flags=allow-oom
-- emitted: adds to how many events of each type were emitted in one domain.
--
-- Promise: all are added in one atomic call. Beyond MOST types a new one is counted as `other`, so
-- that types without bound do not fill the memory.
--
-- ARGV  type, count for each
local MOST, OTHER = 1000, 'other'
--! keys emitted
local room = MOST - redis.call('HLEN', emitted)

for i = 1, #ARGV, 2 do
  local type = ARGV[i]
  if redis.call('HEXISTS', emitted, type) == 0 then
    if room <= 0 then type = OTHER end
    room = room - 1
  end
  redis.call('HINCRBY', emitted, type, ARGV[i + 1])
end
