-- Included by requeue_chunk and reclaim_chunks.
-- Makes the rest of a chunk pending, entry by entry, and scheduled at once, without counting an attempt.
-- From then on each entry is a separate delivery. Returns the number of entries.
-- `sparse` are the ids of a sparse chunk, else ''. `lost` is the state in which the lease expired. Which
-- entry of a running chunk was running is unknown, so each loses a run. The separate task of each entry,
-- with its count of lost runs, then identifies the entry that ends workers.
--! keys scheduled lost_runs stats
--! include _notify.lua
local SLICE = 500

local function is_after(entry, other)
  local function order_of(id)
    local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(sequence)
  end
  local ms, sequence = order_of(entry)
  local other_ms, other_sequence = order_of(other)
  return ms > other_ms or (ms == other_ms and sequence > other_sequence)
end

-- Returns the next entries of the chunk in the log, at most SLICE, and where to continue; nil at its end.
local function next_entries(after, upto, ids)
  local entries = {}
  if not ids then
    local page = redis.call('XRANGE', stream, '(' .. after, upto, 'COUNT', SLICE)
    for i, item in ipairs(page) do entries[i] = item[1] end
    return entries, #page == SLICE and entries[#entries] or nil
  end
  while #entries < SLICE do
    local entry = ids()
    if not entry then return entries end
    if is_after(entry, after) and redis.call('XRANGE', stream, entry, entry)[1] then
      entries[#entries + 1] = entry
    end
  end
  return entries, after
end

local function make_pending(id, after, upto, sparse, lost)
  local made, runs = 0, lost == 'running' and 1 or 0
  -- Before any change: these fail on a key of another type.
  redis.call('ZCARD', scheduled)
  redis.call('HLEN', lost_runs)
  redis.call('HLEN', stats)
  local ids = sparse ~= '' and string.gmatch(sparse, '%S+') or nil
  while after do
    local entries
    entries, after = next_entries(after, upto, ids)
    if #entries == 0 then break end
    local claim, schedule = {'XCLAIM', stream, handler, 'scheduled', 0}, {'ZADD', scheduled}
    local lose = {'HSET', lost_runs}
    for _, entry in ipairs(entries) do
      claim[#claim + 1] = entry
      schedule[#schedule + 1] = now
      schedule[#schedule + 1] = entry
      lose[#lose + 1] = entry
      lose[#lose + 1] = 1
    end
    for _, option in ipairs({'FORCE', 'JUSTID', 'RETRYCOUNT', 1 + runs}) do claim[#claim + 1] = option end
    redis.call(unpack(claim))
    redis.call(unpack(schedule))
    if runs > 0 then redis.call(unpack(lose)) end
    made = made + #entries
  end
  redis.call('HDEL', chunks, id)
  if made > 0 and lost then redis.call('HINCRBY', stats, 'lost ' .. lost, made) end
  if made > 0 then notify() end
  return made
end
