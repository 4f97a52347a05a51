#!lua flags=allow-oom
-- advance: groups of one domain move past entries that a dispatcher read once for all of them.
--
-- Promise: atomically, each group whose last delivered entry is its `after`, and whose patterns in
-- force are those of the caller, moves on to its `upto`; what its handler wants of the entries in
-- between is one open chunk of the owner, and its lease begins. No other group changes.
--
-- KEYS  then for each group: open chunks, patterns in force, statistics
-- ARGV  for each group: handler, after, upto, number of entries or -1, patterns, and of the chunk: id or
--       '', after, upto, number of entries; then the owner
-- Returns {the time ms, 1 if an entry may repeat an event or 0, then for each group {1 if it moved or 0, the
-- last delivered entry or '' without group, 1 if it has pending deliveries or open chunks or 0, open
-- chunks of the owner's worker, mean run time µs}}, the last two 0 without a chunk.
--! include _chunks.lua
--! keys ambiguous
local owner, groups = ARGV[#ARGV], (#ARGV - 1) / 9
local worker = string.match(owner, ':.*$')

local there, at = {}, {}
if redis.call('EXISTS', stream) == 1 then
  local found = redis.call('XINFO', 'GROUPS', stream)
  for i = 1, #(found[1] or {}), 2 do at[found[1][i]] = i + 1 end
  for _, group in ipairs(found) do there[group[at['name']]] = group end
end

-- Where the entry is gone, the log may have lost its end, and others came in its place.
local in_log = {}
local function is_in_log(entry)
  if in_log[entry] == nil then in_log[entry] = redis.call('XRANGE', stream, entry, entry)[1] ~= nil end
  return in_log[entry]
end

local first, last
local function open_chunk(id, after, upto, count, stats)
  local kind = redis.call('TYPE', chunks)['ok']
  -- A failure here would leave out what other groups were given.
  if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', chunks) end
  write_chunk(id, after, upto, count, owner)
  local from, to = tonumber(string.match(after, '^%d+')), tonumber(string.match(upto, '^%d+'))
  first, last = math.min(first or from, from), math.max(last or to, to)
  local own = 0
  for _, stored in ipairs(redis.call('HVALS', chunks)) do
    local _, _, _, holder = parse_chunk(stored)
    if holder and string.match(holder, ':.*$') == worker then own = own + 1 end
  end
  local mean = redis.pcall('HGET', stats, 'mean_us')
  return own, type(mean) == 'string' and tonumber(mean) or 0
end

local log
-- How many entries a group has read that moves to `upto`; nil where that is unknown.
local function entries_read(group, after, upto, entries)
  local read = tonumber(group[at['entries-read']] or nil)
  if read and read >= 0 and entries >= 0 then return read + entries end
  if not log then
    log = {}
    local found = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #found, 2 do log[found[i]] = found[i + 1] end
  end
  if upto == log['last-generated-id'] then return log['entries-added'] end
  if after == '0-0' and entries >= 0 then return log['entries-added'] - log['length'] + entries end
end

local answers = {now, 0}
for i = 1, groups do
  local a, k = 9 * (i - 1), 3 * i
  handler, chunks = ARGV[a + 1], KEYS[k + 1]
  local after, upto, entries, patterns = ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4]), ARGV[a + 5]
  local group = there[handler]
  local answer = {0, group and group[at['last-delivered-id']] or '', 0, 0, 0}
  if group and (group[at['pending']] > 0 or redis.call('EXISTS', chunks) == 1) then answer[3] = 1 end
  if answer[2] == after and is_in_log(upto) then
    local in_force = redis.pcall('GET', KEYS[k + 2])
    if type(in_force) ~= 'string' or in_force == patterns then
      if ARGV[a + 6] ~= '' then
        answer[4], answer[5] = open_chunk(ARGV[a + 6], ARGV[a + 7], ARGV[a + 8], ARGV[a + 9], KEYS[k + 3])
      end
      -- Without the count Redis cannot tell the group's lag until it has read the newest entry.
      local read = entries_read(group, after, upto, entries)
      if read then
        redis.call('XGROUP', 'SETID', stream, handler, upto, 'ENTRIESREAD', read)
      else
        redis.call('XGROUP', 'SETID', stream, handler, upto)
      end
      answer[1], answer[2] = 1, upto
    end
  end
  answers[#answers + 1] = answer
end

local intervals = first and redis.pcall('GET', ambiguous)
if type(intervals) == 'string' then
  for from, to in string.gmatch(intervals, '(%d+):(%d+)') do
    if tonumber(from) <= last and first <= tonumber(to) then answers[2] = 1 end
  end
end
return answers
