-- Included by scripts that append events with ids of their producers, after `look_up` of their keys.
--! keys stream
--! include _ids.lua
--! include _ms_of.lua

-- Appends the event unless its key is registered; returns whether it did.
local function append_given(event_key, event)
  local known, earlier = registered(event_key)
  if known then return false end
  local entry = redis.call('XADD', stream, '*', 'given', event)
  register(event_key, earlier and entry .. '+' .. earlier or entry)
  if earlier then note_ambiguous(ms_of(entry), ms_of(entry)) end
  return true
end
