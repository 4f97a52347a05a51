-- Included by scripts that look at all consumer groups of a log, which define before ARGUMENTS: how
-- many come before the handlers. Their caller names the keys of the handlers that it has seen before.
-- Where there is another one by now, the script changes nothing and answers with the names of all, of
-- which the first is '': the caller calls again.
--! keys stream
local known, place_of = #ARGV - ARGUMENTS, {}
for i = 1, known do place_of[ARGV[ARGUMENTS + i]] = i end

-- As maps.
local groups = {}
if redis.call('EXISTS', stream) == 1 then
  local names, is_new = {''}, false
  for i, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    groups[i] = {}
    for at = 1, #group, 2 do groups[i][group[at]] = group[at + 1] end
    names[i + 1] = groups[i]['name']
    is_new = is_new or not place_of[groups[i]['name']]
  end
  if is_new then return names end
end
