#!lua flags=allow-oom
-- remove_consumers: removes the consumers of dead workers.
--
-- Guarantee: a consumer is removed only if it has nothing pending at that moment, so no delivery is lost.
--
-- ARGV  idle ms after which a consumer counts as dead
-- Returns the number of removed consumers.
--! keys stream
local removed = 0
if redis.call('EXISTS', stream) == 0 then return 0 end
local function field(info, name)
  for i = 1, #info, 2 do if info[i] == name then return info[i + 1] end end
end
for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
  local handler = field(group, 'name')
  for _, consumer in ipairs(redis.call('XINFO', 'CONSUMERS', stream, handler)) do
    local gone = tonumber(field(consumer, 'idle')) > tonumber(ARGV[1])
    if gone and tonumber(field(consumer, 'pending')) == 0 then
      redis.call('XGROUP', 'DELCONSUMER', stream, handler, field(consumer, 'name'))
      removed = removed + 1
    end
  end
end
return removed
