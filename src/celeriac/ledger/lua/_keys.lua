-- Included by the other scripts: every key of one domain, from its base `namespace:{domain}:`.
-- They share the hash tag, so one script call stays within one slot of a Redis Cluster.
local base = KEYS[1]
local handler = ARGV[1]
local stream, bell, dead = base .. 'events', base .. 'bell', base .. 'dead'
local due = base .. 'due:' .. handler
local stats = base .. 'stats:' .. handler

local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- The body of a log entry, or false where it was trimmed or carries no `event` field.
local function body_of(entry)
  local found = redis.call('XRANGE', stream, entry, entry)
  if not found[1] then return false end
  local fields = found[1][2]
  for i = 1, #fields, 2 do
    if fields[i] == 'event' then return fields[i + 1] end
  end
  return false
end

-- Who holds the delivery, for how long (ms), and its delivery count; nil if it is not pending.
local function holder(entry)
  local p = redis.call('XPENDING', stream, handler, entry, entry, 1)[1]
  if p then return p[2], p[3], p[4] end
end

local function ring()
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'for', handler)
end
