#!lua flags=allow-oom
-- complete_chunk: the owner of a chunk reports the results of its first entries.
--
-- Guarantee: atomically, if the worker still owns the chunk, the chunk begins after `until` (or is removed
-- with its last entry), its lease is renewed, the run record is stored, the counts are added, and each
-- exception is pending under the worker in its first attempt, for complete.lua in the same transaction.
-- Otherwise nothing changes. A repeated call changes nothing.
--
-- ARGV  handler, chunk id, worker, until, entries done, mean run time µs or 0, run record or '',
--       exceptions (entries as MessagePack, or ''), counts and counters (a list of fields and a list
--       of numbers each, as MessagePack)
-- Returns 1, or 0 if the worker does not own the chunk, or no longer all of these entries.
--! include _chunks.lua
--! keys stats counters
--! include _run_records.lua
local MAX_FIELDS, SLICE = 4000, 500
local id, worker, done_until, record = ARGV[2], ARGV[3], ARGV[4], ARGV[7]
local after, upto, count, owner, sparse = chunk_of(id, worker)
if not after or is_less(upto, done_until) then return 0 end
-- Already reported: the reply was lost.
if not is_less(after, done_until) then return 1 end
--! include _minute.lua

-- Before any change: each fails on a key of another type.
redis.call('ZCARD', runs)
for _, key in ipairs({stats, counters, minute}) do redis.call('HLEN', key) end

if ARGV[8] ~= '' then
  local entries = cmsgpack.unpack(ARGV[8])
  for first = 1, #entries, SLICE do
    local claim = {'XCLAIM', stream, handler, 'running:' .. worker, 0}
    for i = first, math.min(first + SLICE - 1, #entries) do claim[#claim + 1] = entries[i] end
    for _, option in ipairs({'FORCE', 'JUSTID', 'RETRYCOUNT', 2}) do claim[#claim + 1] = option end
    redis.call(unpack(claim))
  end
  -- For complete.lua, which follows in this transaction.
  redis.call('HSET', chunks, '', id)
end

if done_until == upto then
  redis.call('HDEL', chunks, id)
else
  local remaining = math.max(0, count - tonumber(ARGV[5]))
  write_chunk(id, done_until, upto, remaining, owner, sparse)
end

if record ~= '' then add_run_record(worker, after, done_until, record) end

-- Returns the fields for a hash that is full: new fields are counted together.
local function within_limit(key, names, numbers)
  local merged, sums, index = {}, {}, {}
  for i, name in ipairs(names) do
    if redis.call('HEXISTS', key, name) == 0 then name = string.gsub(name, '^%S+', 'other') end
    local at = index[name] or #merged + 1
    index[name], merged[at], sums[at] = at, name, (sums[at] or 0) + numbers[i]
  end
  return merged, sums
end

-- Adds to many fields at once: each HINCRBY would be a separate command in the AOF.
local function add(key, packed, is_limited)
  local names, numbers = cmsgpack.unpack(packed)
  if is_limited and #names > 0 and redis.call('HLEN', key) >= MAX_FIELDS then
    names, numbers = within_limit(key, names, numbers)
  end
  for first = 1, #names, SLICE do
    local last = math.min(first + SLICE - 1, #names)
    local before, set = redis.call('HMGET', key, unpack(names, first, last)), {}
    for i = first, last do
      set[#set + 1] = names[i]
      set[#set + 1] = string.format('%.0f', (tonumber(before[i - first + 1] or 0) or 0) + numbers[i])
    end
    redis.call('HSET', key, unpack(set))
  end
end
add(stats, ARGV[9], false)
if tonumber(ARGV[6]) > 0 then redis.call('HSET', stats, 'mean_us', ARGV[6]) end
add(counters, ARGV[10], true)
add(minute, ARGV[10], true)
redis.call('PEXPIRE', minute, MINUTE_LIVES_MS, 'NX')
return 1
