-- Included by the scripts of open chunks.
-- ARGV  handler
-- An open chunk is a field of the hash: its id → `after upto count owner renewed`. `renewed` is the ms at
-- which its lease began. A sparse chunk has only some entries of its interval: their ids follow, each
-- after a space. During a fetch, the field with the id '' has the group's position before the fetch.
--! keys stream chunks
local handler = ARGV[1]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function parse_chunk(stored)
  return string.match(stored, '^(%d+%-%d+) (%d+%-%d+) (%d+) (%S+) (%d+)([%d%- ]*)$')
end

local function write_chunk(id, after, upto, count, owner, entries)
  redis.call('HSET', chunks, id, after .. ' ' .. upto .. ' ' .. count .. ' ' .. owner .. ' '
    .. string.format('%.0f', now) .. (entries or ''))
end

-- Returns the chunk if this worker owns it: after, upto, count, owner, and the ids of a sparse one or ''.
local function chunk_of(id, worker)
  local stored = redis.call('HGET', chunks, id)
  if not stored then return end
  local after, upto, count, owner, _, entries = parse_chunk(stored)
  if owner == 'queued:' .. worker or owner == 'running:' .. worker then
    return after, upto, tonumber(count), owner, entries
  end
end

-- Returns the group's position, how many entries it has read, and how many follow; the last two are -1
-- if unknown. Returns nil without a group.
local function position()
  if redis.call('EXISTS', stream) == 0 then return end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local is = {}
    for i = 1, #group, 2 do is[group[i]] = group[i + 1] end
    if is['name'] == handler then
      return is['last-delivered-id'], tonumber(is['entries-read']) or -1, tonumber(is['lag']) or -1
    end
  end
end
