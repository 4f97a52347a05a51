-- Included by scripts that need to know whether entries may repeat events. `ambiguous` has the intervals of
-- time in which they may: see _ids.lua.
--! keys ambiguous

-- Returns whether an entry from time `first` to `last` (ms) may repeat an event.
local function is_ambiguous(first, last)
  -- pcall: a key of another type must not fail a call that has changed something.
  local intervals = redis.pcall('GET', ambiguous)
  if type(intervals) ~= 'string' then return false end
  for from, to in string.gmatch(intervals, '(%d+):(%d+)') do
    if tonumber(from) <= last and first <= tonumber(to) then return true end
  end
  return false
end
