-- Included by scripts that deal with a whole chunk: what one command answers for all of it.
-- A chunk is mostly a run of neighbours in the log, so a range from its first entry to its last
-- finds nearly all; what it misses, for others lie between, is asked for singly.

-- Calls with slices of the values: Lua passes some thousands of arguments at most.
local SLICE = 1000
local function in_slices(values, call)
  for first = 1, #values, SLICE do
    call(first - 1, unpack(values, first, math.min(first + SLICE - 1, #values)))
  end
end

-- Entry → {owner, count}, for those that are pending.
local function holders(entries)
  local found = {}
  if #entries > 1 then
    local range = redis.call('XPENDING', stream, handler, entries[1], entries[#entries], #entries * 2)
    for _, p in ipairs(range) do found[p[1]] = {p[2], p[4]} end
  end
  for _, entry in ipairs(entries) do
    if not found[entry] then
      local owner, _, count = holder(entry)
      if owner then found[entry] = {owner, count} end
    end
  end
  return found
end

-- Entry → its body as `body_of` gives it.
local function bodies(entries)
  local found = {}
  if #entries > 1 then
    local range = redis.call('XRANGE', stream, entries[1], entries[#entries], 'COUNT', #entries * 2)
    for _, item in ipairs(range) do found[item[1]] = event_of(item[2]) end
  end
  for _, entry in ipairs(entries) do
    if found[entry] == nil then found[entry] = body_of(entry) end
  end
  return found
end

-- Event id → its row, for those that have one.
local function rows_of(ids)
  local found = {}
  for _, key in ipairs({older_rows, rows}) do
    if redis.call('EXISTS', key) == 1 then
      in_slices(ids, function(before, ...)
        for i, known in ipairs(redis.call('HMGET', key, ...)) do
          if known then found[ids[before + i]] = known end
        end
      end)
    end
  end
  return found
end
