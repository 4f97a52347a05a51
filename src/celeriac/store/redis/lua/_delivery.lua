-- Included by the scripts of deliveries: the time, and what Redis has of an entry. Each include names
-- the keys that it touches; a script is given those, and no other is put together within it.
--! keys stream
local handler = ARGV[1]

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The time of an entry, as its id says. Many of a chunk came in the same ms, and text to number is
-- among the dearest steps of Lua, as is number to text.
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

-- The event in an entry, by the name of its field (see EntryKind in log/log.py); '' where it has none.
local function event_of(fields)
  for i = 1, #fields, 2 do
    local name = fields[i]
    if name == 'made' or name == 'given' or name == 'event' or name == 'redriven' then return fields[i + 1] end
  end
  return ''
end

-- The body of a log entry; false where it was trimmed.
local function body_of(entry)
  local found = redis.call('XRANGE', stream, entry, entry)
  return found[1] and event_of(found[1][2]) or false
end

-- Who holds the delivery, for how long (ms), and its delivery count; nil if it is not pending.
local function holder(entry)
  local p = redis.call('XPENDING', stream, handler, entry, entry, 1)[1]
  if p then return p[2], p[3], p[4] end
end
