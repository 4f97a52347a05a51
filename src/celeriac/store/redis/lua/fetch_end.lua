#!lua flags=allow-oom
-- fetch_end: the last of the three commands of a fetch (see fetch_begin.lua).
--
-- Guarantee: the entries that the group read in this transaction are one open chunk of the owner, and its
-- lease begins. Without entries there is no chunk.
--
-- ARGV  handler, chunk id, owner, max entries
-- Returns {the time ms, open chunks of the owner's worker, patterns in force or '', mean run time µs
-- or 0, 1 if an entry may repeat an event (see append_once.lua) or 0, the group's position, the number of
-- following entries or -1 if unknown}.
--! include _chunks.lua
--! keys patterns stats ambiguous
local before = redis.call('HGET', chunks, '')
if not before then return redis.error_reply('NOGROUP ' .. handler) end
redis.call('HDEL', chunks, '')
local after, read_before = string.match(before, '^(%S+) (%S+)$')
local upto, read, waiting = position()
if upto ~= after then
  local count = read - tonumber(read_before)
  if read < 0 or tonumber(read_before) < 0 or count <= 0 then
    -- After XGROUP SETID, Redis has no count of the entries that a group has read.
    count = #redis.call('XRANGE', stream, '(' .. after, upto, 'COUNT', ARGV[4])
  end
  write_chunk(ARGV[2], after, upto, count, ARGV[3])
end
-- pcall: a key of another type must not fail the call after these changes.
local intervals, is_ambiguous = redis.pcall('GET', ambiguous), 0
if upto ~= after and type(intervals) == 'string' then
  local function time_of(id) return tonumber(string.match(id, '^%d+')) end
  local first, last = time_of(after), time_of(upto)
  for from, to in string.gmatch(intervals, '(%d+):(%d+)') do
    if tonumber(from) <= last and first <= tonumber(to) then is_ambiguous = 1 end
  end
end
local worker, open_chunks = string.match(ARGV[3], ':.*$'), 0
for _, stored in ipairs(redis.call('HVALS', chunks)) do
  local _, _, _, owner = parse_chunk(stored)
  if owner and string.match(owner, ':.*$') == worker then open_chunks = open_chunks + 1 end
end
-- pcall: a key of another type must not fail the call after these changes.
local in_force, mean = redis.pcall('GET', patterns), redis.pcall('HGET', stats, 'mean_us')
return {now, open_chunks, type(in_force) == 'string' and in_force or '',
  type(mean) == 'string' and tonumber(mean) or 0, is_ambiguous, upto, waiting}
