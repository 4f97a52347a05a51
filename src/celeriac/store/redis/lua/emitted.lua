#!lua flags=allow-oom
-- emitted: counts the emitted events of a domain by type.
--
-- Guarantee: all counts are added in one atomic call. Above MAX_TYPES a new type is counted as `other`,
-- so that an unlimited number of types does not fill the memory.
--
-- ARGV  type, count for each
local MAX_TYPES, OTHER = 1000, 'other'
--! keys emitted
local available = MAX_TYPES - redis.call('HLEN', emitted)

for i = 1, #ARGV, 2 do
  local type = ARGV[i]
  if redis.call('HEXISTS', emitted, type) == 0 then
    if available <= 0 then type = OTHER end
    available = available - 1
  end
  redis.call('HINCRBY', emitted, type, ARGV[i + 1])
end
