#!lua flags=allow-oom
-- fetch_begin: the first of the three commands of a fetch, which are one transaction.
--
-- Notes the group's position. XREADGROUP NOACK follows, whose entries pass through no script, and
-- then fetch_end, which makes the chunk of what lies between the two positions.
--
-- ARGV  handler
-- Fails where there is no group; XREADGROUP fails then too.
--! include _chunks.lua
local kind = redis.call('TYPE', chunks)['ok']
-- A transaction is not rolled back: what fetch_end cannot write to would lose what was read.
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', chunks) end
local at, read = position()
if not at then return redis.error_reply('NOGROUP ' .. handler) end
redis.call('HSET', chunks, '', at .. ' ' .. read)
return 'OK'
