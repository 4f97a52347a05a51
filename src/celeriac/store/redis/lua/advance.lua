#!lua flags=allow-oom
-- advance: moves groups of one domain past entries that a dispatcher read once for all of them.
--
-- Guarantee: atomically, each group whose position is its `after`, and whose patterns in force are those
-- of the caller, moves to its `upto`. What its handler wants of the entries in between becomes one open
-- chunk of the owner, and its lease begins. No other group changes.
--
-- KEYS  then for each group: open chunks, patterns in force, statistics
-- ARGV  for each group: handler, after, upto, number of entries or -1, patterns, and of the chunk: id or
--       '', after, upto, number of entries, ids of a sparse one or ''; the entry that follows `after`,
--       and how many entries the group has read at `upto`, or '' and -1; last lease ms, owner
-- Returns {the time ms, 1 if an entry may repeat an event or 0, then for each group {1 if it moved or 0,
-- its position or '' without a group, 1 if it has pending deliveries or expired chunks or 0, open chunks
-- of the owner's worker, mean run time µs, entries that it has read or -1}}. The number of open chunks
-- and the run time are 0 without a new chunk. Pending deliveries are not checked with a new chunk.
--
-- To look up the position of one group, Redis lists all groups of the stream. If the caller moves only a
-- few of many groups, it passes the entry that follows; reading one entry then verifies the position.
--! include _opened.lua
local owner, lease, groups = ARGV[#ARGV], tonumber(ARGV[#ARGV - 1]), (#ARGV - 2) / 12

local group_of, at
local function look_up()
  group_of, at = {}, {}
  if redis.call('EXISTS', stream) == 0 then return end
  local list = redis.call('XINFO', 'GROUPS', stream)
  for i = 1, #(list[1] or {}), 2 do at[list[1][i]] = i + 1 end
  for _, group in ipairs(list) do group_of[group[at['name']]] = group end
end

-- Returns whether the next entry of the group is `following`. If not, restores its position and looks
-- it up.
local function is_before(following)
  local reply = redis.pcall('XREADGROUP', 'GROUP', handler, owner, 'COUNT', 1, 'NOACK', 'STREAMS', stream, '>')
  local next_entry = reply and not reply['err'] and reply[1][2][1][1]
  if next_entry == following then return true end
  look_up()
  if next_entry then
    local before = redis.call('XREVRANGE', stream, '(' .. next_entry, '-', 'COUNT', 1)[1]
    local read = tonumber(group_of[handler][at['entries-read']] or -1)
    local back = before and before[1] or '0-0'
    if read > 0 then
      redis.call('XGROUP', 'SETID', stream, handler, back, 'ENTRIESREAD', read - 1)
    else
      redis.call('XGROUP', 'SETID', stream, handler, back)
    end
    look_up()
  end
  return false
end

-- If the entry is gone, the log may have lost its end, and other entries may have replaced it.
local in_log = {}
local function is_in_log(entry)
  if in_log[entry] == nil then in_log[entry] = redis.call('XRANGE', stream, entry, entry)[1] ~= nil end
  return in_log[entry]
end

local first, last
local function open_chunk(id, after, upto, count, entries, stats)
  local kind = redis.call('TYPE', chunks)['ok']
  -- A failure here would leave out the other groups.
  if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', chunks) end
  write_chunk(id, after, upto, count, owner, entries)
  first = math.min(first or ms_of(after), ms_of(after))
  last = math.max(last or ms_of(upto), ms_of(upto))
  return count_open_chunks(owner), mean_run_time(stats)
end

-- Returns whether the lease of an open chunk expired, or the server's clock stepped back since it began.
local function has_expired()
  if redis.call('TYPE', chunks)['ok'] ~= 'hash' then return false end
  for _, stored in ipairs(redis.call('HVALS', chunks)) do
    local _, _, _, _, renewed = parse_chunk(stored)
    renewed = tonumber(renewed)
    if renewed and (renewed > now or now - renewed >= lease) then return true end
  end
  return false
end

local log_info
-- Returns how many entries a group has read after it moves to `upto`; nil if unknown.
local function entries_read(group, after, upto, entries)
  local read = tonumber(group[at['entries-read']] or nil)
  if read and read >= 0 and entries >= 0 then return read + entries end
  if not log_info then
    log_info = {}
    local list = redis.call('XINFO', 'STREAM', stream)
    for i = 1, #list, 2 do log_info[list[i]] = list[i + 1] end
  end
  if upto == log_info['last-generated-id'] then return log_info['entries-added'] end
  if after == '0-0' and entries >= 0 then return log_info['entries-added'] - log_info['length'] + entries end
end

local answers = {now, 0}
local function is_in_force(patterns, key)
  local in_force = redis.pcall('GET', key)
  return type(in_force) ~= 'string' or in_force == patterns
end

for i = 1, groups do
  local a, k = 12 * (i - 1), 3 * i
  handler, chunks = ARGV[a + 1], KEYS[k + 1]
  local after, upto, entries, patterns = ARGV[a + 2], ARGV[a + 3], tonumber(ARGV[a + 4]), ARGV[a + 5]
  local following, read = ARGV[a + 11], tonumber(ARGV[a + 12])
  local may_move = is_in_log(upto) and is_in_force(patterns, KEYS[k + 2])
  local moves, answer = false, {0, after, 0, 0, 0, -1}
  if may_move and following ~= '' then moves = is_before(following) end
  if not moves then
    if not group_of then look_up() end
    local group = group_of[handler]
    answer[2] = group and group[at['last-delivered-id']] or ''
    answer[6] = group and tonumber(group[at['entries-read']] or -1) or -1
    if group and ARGV[a + 6] == '' and (group[at['pending']] > 0 or has_expired()) then answer[3] = 1 end
    moves = may_move and answer[2] == after
    if moves then read = entries_read(group, after, upto, entries) end
  end
  if moves then
    if ARGV[a + 6] ~= '' then
      answer[4], answer[5] =
        open_chunk(ARGV[a + 6], ARGV[a + 7], ARGV[a + 8], ARGV[a + 9], ARGV[a + 10], KEYS[k + 3])
    end
    -- Without the count, Redis reports no lag for the group until it has read the newest entry.
    if read and read >= 0 then
      redis.call('XGROUP', 'SETID', stream, handler, upto, 'ENTRIESREAD', read)
    else
      redis.call('XGROUP', 'SETID', stream, handler, upto)
    end
    answer[1], answer[2], answer[6] = 1, upto, read or -1
  end
  answers[#answers + 1] = answer
end

if first and is_ambiguous(first, last) then answers[2] = 1 end
return answers
