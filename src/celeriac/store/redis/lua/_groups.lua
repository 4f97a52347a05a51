-- Included by scripts that read all consumer groups of a log. They first define ARGUMENTS: the number
-- of arguments before the handlers. The caller passes the keys of the handlers that it has seen.
-- If a new group exists, the script changes nothing and returns '' and the names of all groups: the
-- caller then repeats the call with these.
--! keys stream
local known, place_of = #ARGV - ARGUMENTS, {}
for i = 1, known do place_of[ARGV[ARGUMENTS + i]] = i end

-- The groups as maps.
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
