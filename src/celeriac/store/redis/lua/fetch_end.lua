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
--! include _opened.lua
--! keys patterns stats
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
local may_repeat = upto ~= after and is_ambiguous(ms_of(after), ms_of(upto))
-- pcall: a key of another type must not fail the call after these changes.
local in_force = redis.pcall('GET', patterns)
return {now, count_open_chunks(ARGV[3]), type(in_force) == 'string' and in_force or '',
  mean_run_time(stats), may_repeat and 1 or 0, upto, waiting}
