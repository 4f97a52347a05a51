#!lua flags=allow-oom
-- note_foreign: a worker registers events that foreign producers appended.
--
-- Guarantee: atomically, each unregistered event key is registered with the given value: the entry and
-- `!` (see append_once.lua), or the entry of emit that it copies.
--
-- ARGV  window ms; then for each event: event key, value
-- Returns the number of registered keys.
local window = tonumber(ARGV[1])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
--! include _ids.lua
local event_keys, noted = {}, 0
for i = 2, #ARGV, 2 do event_keys[#event_keys + 1] = ARGV[i] end
look_up(event_keys)
for i = 2, #ARGV, 2 do
  if not values_of[ARGV[i]] then
    register(ARGV[i], ARGV[i + 1])
    noted = noted + 1
  end
end
return noted
