#!lua flags=allow-oom
-- pass_over: the groups of many handlers pass over what was read and none of them wants.
--
-- Promise: atomically, each group that stands at its `after`, or between that and `upto`, stands at
-- `upto` now. No other is touched: not one that was set back, nor one that is behind, nor one of a
-- handler whose newest code subscribes to something else than the caller's.
--
-- KEYS  base
-- ARGV  upto, its place or '', then handler, after, patterns for each (see _pass.lua)
-- Returns the numbers, from 1, of the handlers for whom there may be something to take: what is pending, what
-- is waiting and was not passed over, open chunks, or a group that is gone.
local stream = KEYS[1] .. 'events'
--! include _pass.lua
local upto = ARGV[1]
local to = parse(upto)

local there, at = {}, {}
if redis.call('EXISTS', stream) == 1 then
  local groups = redis.call('XINFO', 'GROUPS', stream)
  for i = 1, #(groups[1] or {}), 2 do at[groups[1][i]] = i + 1 end
  for _, group in ipairs(groups) do there[group[at['name']]] = group end
end

-- Handler → what its newest code subscribes to, for those that stand before the end.
local function patterns_of(handlers)
  local known = {}
  for first = 1, #handlers, 1000 do
    local keys = {}
    for i = first, math.min(first + 999, #handlers) do
      keys[#keys + 1] = KEYS[1] .. 'patterns:' .. handlers[i]
    end
    for i, patterns in ipairs(redis.call('MGET', unpack(keys))) do
      known[handlers[first + i - 1]] = patterns
    end
  end
  return known
end

local to_ask, before, standing = {}, {}, {}
for i = 3, #ARGV, 3 do
  local group = there[ARGV[i]]
  local stands = group and parse(group[at['last-delivered-id']])
  if stands and less(stands, to) then
    before[#before + 1] = ARGV[i]
    standing[ARGV[i]] = stands
  end
  if not group or group[at['pending']] > 0 or redis.call('EXISTS', KEYS[1] .. 'chunks:' .. ARGV[i]) == 1 then
    to_ask[i / 3] = true
  end
end

local read = #before > 0 and is_in_log(upto) and {read_up_to(upto, ARGV[2])}
local newest = patterns_of(before)
for i = 3, #ARGV, 3 do
  local handler = ARGV[i]
  if standing[handler] then
    local same = not newest[handler] or newest[handler] == ARGV[i + 2]
    if read and same and not less(standing[handler], parse(ARGV[i + 1])) then
      stand_at(handler, upto, read[1])
    else
      to_ask[i / 3] = true
    end
  end
end

local numbers = {}
for number = 1, (#ARGV - 2) / 3 do
  if to_ask[number] then numbers[#numbers + 1] = number end
end
return numbers
