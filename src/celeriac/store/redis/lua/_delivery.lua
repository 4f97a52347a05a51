-- Included by the scripts of deliveries: the time, and what Redis stores about an entry. Each include
-- declares the keys that it uses. A script gets only these and never builds the name of a key.
--! keys stream
local handler = ARGV[1]

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
--! include _ms_of.lua

-- The event of an entry, by the name of its field (see EntryKind in event_log/event_log.py); '' if none.
local function event_of(fields)
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == 'made' or name == 'given' or name == 'event' or name == 'redriven' then return fields[i + 1] end
  end
  return ''
end

-- The body of a log entry; false if it was trimmed.
local function body_of(entry)
  local entries = redis.call('XRANGE', stream, entry, entry)
  return entries[1] and event_of(entries[1][2]) or false
end

-- Returns the owner of a delivery, its idle time (ms) and its delivery count; nil if it is not pending.
local function holder(entry)
  local p = redis.call('XPENDING', stream, handler, entry, entry, 1)[1]
  if p then return p[2], p[3], p[4] end
end
