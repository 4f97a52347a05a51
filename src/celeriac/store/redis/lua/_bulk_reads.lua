-- Included by scripts that process a whole chunk with few commands. The entries of a chunk are mostly
-- adjacent in the log, so a range from the first to the last returns nearly all of them. Entries that
-- it misses, because others are in between, are read one by one.
--! keys stream rows older_rows

-- Calls a function with slices of the values: Lua passes a few thousand arguments at most.
local SLICE = 1000
local function in_slices(values, call)
  for first = 1, #values, SLICE do
    call(first - 1, unpack(values, first, math.min(first + SLICE - 1, #values)))
  end
end

-- Returns entry → {entry, owner, idle ms, count} as from XPENDING, for pending entries.
local function holders(entries)
  local pending = {}
  if #entries > 1 then
    local range = redis.call('XPENDING', stream, handler, entries[1], entries[#entries], #entries * 2)
    for i = 1, #range do
      local p = range[i]
      pending[p[1]] = p
    end
  end
  for _, entry in ipairs(entries) do
    if not pending[entry] then
      pending[entry] = redis.call('XPENDING', stream, handler, entry, entry, 1)[1]
    end
  end
  return pending
end

-- Returns a function that returns whether an entry is still in the log. Usually the ends of the log
-- decide this for all entries; otherwise each is read.
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
  local existing = {}
  if #entries > 1 then
    local range = redis.call('XRANGE', stream, entries[1], entries[#entries], 'COUNT', #entries * 2)
    for _, item in ipairs(range) do existing[item[1]] = true end
  end
  return function(entry)
    return existing[entry] or redis.call('XRANGE', stream, entry, entry)[1] ~= nil
  end
end

-- Returns event key → its row, for those that have one.
local function rows_of(event_keys)
  local row_by_key = {}
  for _, key in ipairs({older_rows, rows}) do
    if redis.call('EXISTS', key) == 1 then
      in_slices(event_keys, function(before, ...)
        for i, known in ipairs(redis.call('HMGET', key, ...)) do
          if known then row_by_key[event_keys[before + i]] = known end
        end
      end)
    end
  end
  return row_by_key
end
