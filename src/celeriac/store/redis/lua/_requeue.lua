-- Included by requeue and reclaim.
-- What is left of a chunk becomes pending, entry by entry, and scheduled at once, with no attempt counted.
-- From then on each entry is a delivery of its own. Returns how many.
-- `sparse` are the ids of a sparse chunk, else ''. `lost` is the place in which the lease expired. Of a running chunk nothing tells which entry was
-- under way, so each has lost a run: a task of its own, and its count, find the one that kills workers.
--! keys scheduled lost_runs stats
--! include _notify.lua
local SLICE = 500

local function is_after(entry, other)
  local function order_of(one)
    local ms, sequence = string.match(one, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(sequence)
  end
  local ms, sequence = order_of(entry)
  local other_ms, other_sequence = order_of(other)
  return ms > other_ms or (ms == other_ms and sequence > other_sequence)
end

-- The next entries of the chunk that are in the log, at most SLICE, and where to go on; nil at its end.
local function next_entries(after, upto, ids)
  local entries, found = {}, nil
  if not ids then
    found = redis.call('XRANGE', stream, '(' .. after, upto, 'COUNT', SLICE)
    for i, item in ipairs(found) do entries[i] = item[1] end
    return entries, #found == SLICE and entries[#entries] or nil
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
  -- Before anything changes: these fail on a key of another type.
  redis.call('ZCARD', scheduled)
  redis.call('HLEN', lost_runs)
  redis.call('HLEN', stats)
  local ids = sparse ~= '' and string.gmatch(sparse, '%S+') or nil
  while after do
    local found
    found, after = next_entries(after, upto, ids)
    if #found == 0 then break end
    local claim, schedule = {'XCLAIM', stream, handler, 'scheduled', 0}, {'ZADD', scheduled}
    local lose = {'HSET', lost_runs}
    for _, entry in ipairs(found) do
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
    made = made + #found
  end
  redis.call('HDEL', chunks, id)
  if made > 0 and lost then redis.call('HINCRBY', stats, 'lost ' .. lost, made) end
  if made > 0 then notify() end
  return made
end
