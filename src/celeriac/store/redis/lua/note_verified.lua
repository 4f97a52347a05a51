#!lua flags=allow-oom
-- note_verified: a worker records verified events for a handler that requires signatures.
--
-- Guarantee: atomically, each event key without a recorded entry gets one. So of all entries of one
-- event, whatever their fields, one counts for the handler. It is recorded for one to two windows:
-- two generations, as in _ids.lua.
--
-- ARGV  window ms; then for each event, hundreds at most: event key, entry
-- Returns the entries that do not count, each with the entry that does.
--! keys verified older_verified
local window = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- In each generation, this field has the ms at which it began and the longest window it is kept for.
-- No event has an empty key.
local MARK = ''
local event_keys = {}
for i = 2, #ARGV, 2 do event_keys[#event_keys + 1] = ARGV[i] end

-- Reads the mark and the recorded entries. A key that is not a hash is removed: it would stop the
-- handler.
local function noted_in(key)
  local noted = redis.pcall('HMGET', key, MARK, unpack(event_keys))
  if not noted.err then return noted end
  redis.call('UNLINK', key)
  return {}
end

local older, current = noted_in(older_verified), noted_in(verified)
local began, longest = string.match(current[1] or '', '^(%d+) (%d+)$')
began, longest = tonumber(began or ''), tonumber(longest or '')
if began and now - began >= window then
  redis.call('UNLINK', older_verified)
  redis.call('RENAME', verified, older_verified)
  began = nil
end

local entry_of, new, copies = {}, {}, {}
for i, event_key in ipairs(event_keys) do
  local entry = ARGV[2 * i + 1]
  local counts = entry_of[event_key] or current[i + 1] or older[i + 1]
  if not counts then
    counts = entry
    new[#new + 1], new[#new + 2] = event_key, entry
  end
  entry_of[event_key] = counts
  if counts ~= entry then copies[#copies + 1], copies[#copies + 2] = entry, counts end
end

if #new > 0 then
  if not began or longest < window then
    began = began or now
    new[#new + 1], new[#new + 2] = MARK, string.format('%.0f %.0f', began, window)
  else
    began = nil
  end
  redis.call('HSET', verified, unpack(new))
  if began then redis.call('PEXPIREAT', verified, string.format('%.0f', began + 2 * window)) end
end
return copies
