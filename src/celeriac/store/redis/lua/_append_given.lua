-- Included by scripts that append events with ids of their producers, after `look_up` of their keys.
--! keys stream
--! include _ids.lua

-- Appends the event unless its key is registered; returns whether it did.
local function append_given(event_key, event)
  local known, earlier = registered(event_key)
  if known then return false end
  local entry = redis.call('XADD', stream, '*', 'given', event)
  register(event_key, earlier and entry .. '+' .. earlier or entry)
  local at = tonumber(string.match(entry, '^%d+'))
  if earlier then note_ambiguous(at, at) end
  return true
end
