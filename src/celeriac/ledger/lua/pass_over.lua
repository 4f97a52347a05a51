#!lua flags=allow-oom
-- pass_over: the groups of many handlers pass over what was read and none of them wants.
--
-- Promise: atomically, each group that stands at its `after`, or between that and `upto`, stands at
-- `upto` now. No other is touched: not one that was set back, nor one that is behind, nor one of a
-- handler whose newest code subscribes to something else than the caller's.
--
-- KEYS  event log, then of each handler the patterns in force, then of each its open chunks
-- ARGV  upto, its place or '' (see _pass.lua); handlers, where each has read from, and its patterns:
--       three lists as MessagePack
-- Returns the numbers, from 1, of the handlers for whom there may be something to take: what is pending, what
-- is waiting and was not passed over, open chunks, or a group that is gone.
--! include _pass.lua
local upto = ARGV[1]
local handlers, afters, patterns = cmsgpack.unpack(ARGV[3])
local to = parse(upto)

local there, at = {}, {}
if redis.call('EXISTS', stream) == 1 then
  local groups = redis.call('XINFO', 'GROUPS', stream)
  for i = 1, #(groups[1] or {}), 2 do at[groups[1][i]] = i + 1 end
  for _, group in ipairs(groups) do there[group[at['name']]] = group end
end

local to_ask, standing, newest, is_any = {}, {}, {}, false
for i, handler in ipairs(handlers) do
  local group = there[handler]
  local stands = group and parse(group[at['last-delivered-id']])
  if stands and less(stands, to) then
    standing[i], is_any = stands, true
  end
  if not group or group[at['pending']] > 0 or redis.call('EXISTS', KEYS[1 + #handlers + i]) == 1 then
    to_ask[i] = true
  end
end

for first = 1, is_any and #handlers or 0, 1000 do
  local last = math.min(first + 999, #handlers)
  for i, in_force in ipairs(redis.call('MGET', unpack(KEYS, 1 + first, 1 + last))) do
    newest[first + i - 1] = in_force
  end
end

local read = is_any and is_in_log(upto) and {read_up_to(upto, ARGV[2])}
for i, handler in ipairs(handlers) do
  if standing[i] then
    local same = not newest[i] or newest[i] == patterns[i]
    if read and same and not less(standing[i], parse(afters[i])) then
      stand_at(handler, upto, read[1])
    else
      to_ask[i] = true
    end
  end
end

local numbers = {}
for i = 1, #handlers do
  if to_ask[i] then numbers[#numbers + 1] = i end
end
return numbers
