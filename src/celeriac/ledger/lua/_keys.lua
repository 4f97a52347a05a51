-- Included by the other scripts: every key of one domain, from its base `namespace:{domain}:`.
-- They share the hash tag, so one script call stays within one slot of a Redis Cluster.
local base = KEYS[1]
local handler = ARGV[1]
local stream, bell, dead = base .. 'events', base .. 'bell', base .. 'dead'
local due = base .. 'due:' .. handler
local stats = base .. 'stats:' .. handler
local patterns = base .. 'patterns:' .. handler
-- Entry → how many of its runs ended with their lease, for those of which any did.
local lost_runs = base .. 'lost:' .. handler

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

-- Whether the entry is in the interval of an open chunk: see _chunks.lua.
local function is_in_chunk(entry)
  local function key(id)
    local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(sequence)
  end
  local ms, sequence = key(entry)
  local function is_after(id)
    local other_ms, other_sequence = key(id)
    return ms > other_ms or (ms == other_ms and sequence > other_sequence)
  end
  for _, chunk in ipairs(redis.call('HVALS', base .. 'chunks:' .. handler)) do
    local after, upto = string.match(chunk, '^(%d+%-%d+) (%d+%-%d+) ')
    if after and is_after(after) and not is_after(upto) then return true end
  end
  return false
end

-- Whether the entry is ahead of the group, or in an open chunk: its handler will get it without
-- another step.
local function waiting(entry)
  if is_in_chunk(entry) then return true end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local is = {}
    for i = 1, #group, 2 do is[group[i]] = group[i + 1] end
    if is['name'] == handler then
      local after = '(' .. is['last-delivered-id']
      return redis.call('XRANGE', stream, after, entry, 'COUNT', 1)[1] ~= nil
    end
  end
  return false
end

local function ring()
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'for', handler)
end
