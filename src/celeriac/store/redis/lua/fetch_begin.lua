#!lua flags=allow-oom
-- fetch_begin: the first of the three commands of a fetch, which form one transaction.
--
-- Stores the group's position. XREADGROUP NOACK follows, whose entries pass through no script. Then
-- fetch_end creates the chunk between the two positions.
--
-- ARGV  handler
-- Fails without a group, as XREADGROUP then does.
--! include _chunks.lua
local kind = redis.call('TYPE', chunks)['ok']
-- A transaction is not rolled back: if fetch_end could not write here, the read entries would be lost.
if kind ~= 'hash' and kind ~= 'none' then redis.call('UNLINK', chunks) end
local at, read = position()
if not at then return redis.error_reply('NOGROUP ' .. handler) end
redis.call('HSET', chunks, '', at .. ' ' .. read)
return 'OK'
