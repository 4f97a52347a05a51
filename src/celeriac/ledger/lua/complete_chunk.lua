#!lua flags=allow-oom
-- complete_chunk: the owner of a chunk reports what became of its first entries.
--
-- Promise: atomically, if the worker still holds the chunk, the chunk begins after `until` (or is
-- gone, with its last entry), its lease is renewed, the run record is kept, the counts are added,
-- and each exception is pending under the worker in its first attempt, for finish.lua in the same
-- transaction. Otherwise nothing changes. So does a repetition.
--
-- ARGV  handler, chunk id, worker, until, entries done, mean run time µs or 0, run record or '',
--       exceptions (entries as MessagePack, or ''), counts and tallies (a list of fields and a list
--       of numbers each, as MessagePack)
-- Returns 1, or 0 where the worker does not hold the chunk.
--! include _chunks.lua
--! include _minute.lua
--! keys runs stats tallies
local MERGE_BELOW, MOST_FIELDS = 512, 4000
local id, worker, done_until, record = ARGV[2], ARGV[3], ARGV[4], ARGV[7]
local after, upto, count, owner = chunk_of(id, worker)
if not after then return 0 end

local function parse(entry)
  local ms, sequence = string.match(entry, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end
local function is_less(a, b)
  local ms, sequence = parse(a)
  local other_ms, other_sequence = parse(b)
  return ms < other_ms or (ms == other_ms and sequence < other_sequence)
end
-- Said before: the answer was lost.
if not is_less(after, done_until) then return 1 end

-- Before anything changes: each fails on a key of another type.
redis.call('ZCARD', runs)
for _, key in ipairs({stats, tallies, minute}) do redis.call('HLEN', key) end

if ARGV[8] ~= '' then
  local entries = cmsgpack.unpack(ARGV[8])
  for first = 1, #entries, 500 do
    local claim = {'XCLAIM', stream, handler, 'running:' .. worker, 0}
    for i = first, math.min(first + 499, #entries) do claim[#claim + 1] = entries[i] end
    for _, option in ipairs({'FORCE', 'JUSTID', 'RETRYCOUNT', 2}) do claim[#claim + 1] = option end
    redis.call(unpack(claim))
  end
  -- For finish.lua, which comes next in this transaction.
  redis.call('HSET', chunks, '', id)
end

if done_until == upto then
  redis.call('HDEL', chunks, id)
else
  local left = math.max(0, count - tonumber(ARGV[5]))
  write_chunk(id, done_until, upto, left, owner)
end

-- A record is a member of the sorted set: `after upto`, a line feed, the frames. Small neighbours
-- become one, or each would cost a hundred bytes beside its own.
if record ~= '' then
  local newest = redis.call('ZRANGE', runs, -1, -1)[1]
  if newest and #newest < MERGE_BELOW then
    local from, to, frames = string.match(newest, '^(%S+) (%S+)\n(.*)$')
    if to == after then
      redis.call('ZREM', runs, newest)
      after, record = from, frames .. record
    end
  end
  redis.call('ZADD', runs, string.match(done_until, '^%d+'), after .. ' ' .. done_until .. '\n' .. record)
end

local function add(key, packed, is_bounded)
  local names, numbers = cmsgpack.unpack(packed)
  local full = is_bounded and #names > 0 and redis.call('HLEN', key) >= MOST_FIELDS
  for i, name in ipairs(names) do
    if full and redis.call('HEXISTS', key, name) == 0 then name = string.gsub(name, '^%S+', 'other') end
    redis.call('HINCRBY', key, name, numbers[i])
  end
end
add(stats, ARGV[9], false)
if tonumber(ARGV[6]) > 0 then redis.call('HSET', stats, 'mean_us', ARGV[6]) end
add(tallies, ARGV[10], true)
add(minute, ARGV[10], true)
redis.call('PEXPIRE', minute, MINUTE_LIVES_MS, 'NX')
return 1
