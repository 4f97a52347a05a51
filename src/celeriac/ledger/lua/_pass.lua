-- Included by scripts that move a group past entries which its handler does not want.
-- A dispatcher has read them, and says which it wants after the entry `after`, up to and with the entry
-- `upto`. That stays true whatever happens, for entries are never put in between; but where `upto`
-- is not in the log any more, the log may have lost its end, and others came in its place.
--! keys stream
local function parse(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return {tonumber(ms), tonumber(sequence)}
end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end

local function is_in_log(entry)
  return redis.call('XRANGE', stream, entry, entry)[1] ~= nil
end

-- How many entries a group has read that stands at this one: its place, or what is counted where
-- the dispatcher does not know that (''); nil where it would take long to count.
local MOST_COUNTED = 100
local function read_up_to(entry, place)
  if (tonumber(place) or -1) >= 0 then return tonumber(place) end
  local later = redis.call('XRANGE', stream, '(' .. entry, '+', 'COUNT', MOST_COUNTED)
  if #later == MOST_COUNTED then return nil end
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do
    if info[i] == 'entries-added' then return info[i + 1] - #later end
  end
end

-- Without the count Redis cannot tell the group's lag until it has read the newest entry.
local function stand_at(group, entry, read)
  if read and read >= 0 then
    redis.call('XGROUP', 'SETID', stream, group, entry, 'ENTRIESREAD', read)
  else
    redis.call('XGROUP', 'SETID', stream, group, entry)
  end
end
