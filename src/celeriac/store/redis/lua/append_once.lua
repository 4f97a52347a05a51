#!lua
-- append_once: appends events to the log, each event key once.
--
-- Guarantee: atomically, an event whose key is not registered is appended, and its key is registered with
-- the entry. If the key is registered, also by an earlier event of the same call, nothing is written.
-- If Redis refuses the call, nothing is registered.
--
-- An event may be in the log although its key is not registered: an earlier try appended it and the
-- reply was lost, or `emit` made its id. The registered value then ends with `?from:to`: the time of
-- the entries to search for an earlier one, or up to the new entry if `to` is missing. An earlier try
-- may also arrive later, within LATE_MS. A value that ends with `+entry` belongs to an id that is
-- contested by the entry before it.
--
-- ARGV  window ms; then for each event: event key, event; and if it may be in the log already, the ms
--       since the earliest time of that, and for how many ms, or '' for until now and later
-- Returns the entries, separated by spaces.
--! keys stream
local window = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
--! include _ids.lua
--! include _ms_of.lua
-- TCP gives up a closed connection within minutes. The margin allows for an adjusted clock.
local LATE_MS, MARGIN_MS = 3600000, 1000

local event_keys = {}
for i = 2, #ARGV, 4 do event_keys[#event_keys + 1] = ARGV[i] end
look_up(event_keys)

local entries, first, last = {}, math.huge, 0
for i = 2, #ARGV, 4 do
  local event_key, age, span = ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local entry, earlier = registered(event_key)
  if not entry then
    entry = redis.call('XADD', stream, '*', 'given', ARGV[i + 1])
    local value, at = entry, ms_of(entry)
    if earlier then
      value, first, last = entry .. '+' .. earlier, math.min(first, at), math.max(last, at)
    elseif age then
      local from = now - age - MARGIN_MS
      value = string.format('%s?%.0f:%s', entry, from, span and string.format('%.0f', from + span) or '')
      first = math.min(first, span and at or from)
      last = math.max(last, span and at or math.max(now, at) + LATE_MS)
    end
    register(event_key, value)
  end
  entries[#entries + 1] = entry
end
if last > 0 then note_ambiguous(first, last) end
return table.concat(entries, ' ')
