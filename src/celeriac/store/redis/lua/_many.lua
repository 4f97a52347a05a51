-- Included by scripts that deal with a whole chunk: what one command answers for all of it.
-- A chunk is mostly a run of neighbours in the log, so a range from its first entry to its last
-- finds nearly all; what it misses, for others lie between, is asked for singly.
--! keys stream rows older_rows

-- Calls with slices of the values: Lua passes some thousands of arguments at most.
local SLICE = 1000
local function in_slices(values, call)
  for first = 1, #values, SLICE do
    call(first - 1, unpack(values, first, math.min(first + SLICE - 1, #values)))
  end
end

-- Entry → {entry, owner, idle ms, count} as XPENDING gives it, for those that are pending.
local function holders(entries)
  local found = {}
  if #entries > 1 then
    local range = redis.call('XPENDING', stream, handler, entries[1], entries[#entries], #entries * 2)
    for i = 1, #range do
      local p = range[i]
      found[p[1]] = p
    end
  end
  for _, entry in ipairs(entries) do
    if not found[entry] then
      found[entry] = redis.call('XPENDING', stream, handler, entry, entry, 1)[1]
    end
  end
  return found
end

-- Whether all of these are in the log still. Nearly always the ends of the log tell; where they do
-- not, each is looked for. Returns a function that says it of one entry.
local function lookup(entries)
  local first = math.huge
  for _, entry in ipairs(entries) do first = math.min(first, ms_of(entry)) end
  local is = {}
  local info = redis.call('XINFO', 'STREAM', stream)
  for i = 1, #info, 2 do is[info[i]] = info[i + 1] end
  local oldest, deleted = is['first-entry'], is['max-deleted-entry-id']
  if oldest and deleted and first > ms_of(oldest[1]) and first > ms_of(deleted) then
    return function() return true end
  end
  local found = {}
  if #entries > 1 then
    local range = redis.call('XRANGE', stream, entries[1], entries[#entries], 'COUNT', #entries * 2)
    for _, item in ipairs(range) do found[item[1]] = true end
  end
  return function(entry)
    return found[entry] or redis.call('XRANGE', stream, entry, entry)[1] ~= nil
  end
end

-- Event key → its row, for those that have one.
local function rows_of(event_keys)
  local found = {}
  for _, key in ipairs({older_rows, rows}) do
    if redis.call('EXISTS', key) == 1 then
      in_slices(event_keys, function(before, ...)
        for i, known in ipairs(redis.call('HMGET', key, ...)) do
          if known then found[event_keys[before + i]] = known end
        end
      end)
    end
  end
  return found
end
