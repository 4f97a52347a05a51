-- Included by scripts that need the time of an entry, which is in its id. Many entries of a chunk have the
-- same ms. Cached, because converting between strings and numbers is among the slowest operations of Lua.
local times = {}
local function ms_of(entry)
  local digits = string.match(entry, '^%d+')
  local ms = times[digits]
  if not ms then
    ms = tonumber(digits)
    times[digits] = ms
  end
  return ms
end
