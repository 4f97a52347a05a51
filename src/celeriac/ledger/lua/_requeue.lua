-- Included by requeue and reclaim, which have these keys beside those of _chunks.lua:
-- KEYS  …, scheduled deliveries of the handler, wakeup stream of the domain
-- What is left of a chunk becomes pending, entry by entry, and due at once, with no attempt counted.
-- From then on each entry is a delivery of its own. Returns how many.
local due, wakeup = KEYS[3], KEYS[4]
local SLICE = 500

local function make_pending(id, after, upto)
  local made = 0
  redis.call('ZCARD', due)  -- before anything changes: it fails on a key of another type
  while true do
    local found = redis.call('XRANGE', stream, '(' .. after, upto, 'COUNT', SLICE)
    if #found == 0 then break end
    local claim, schedule = {'XCLAIM', stream, handler, 'due', 0}, {'ZADD', due}
    for _, item in ipairs(found) do
      claim[#claim + 1] = item[1]
      schedule[#schedule + 1] = now
      schedule[#schedule + 1] = item[1]
    end
    for _, option in ipairs({'FORCE', 'JUSTID', 'RETRYCOUNT', 1}) do claim[#claim + 1] = option end
    redis.call(unpack(claim))
    redis.call(unpack(schedule))
    made, after = made + #found, found[#found][1]
    if #found < SLICE then break end
  end
  redis.call('HDEL', chunks, id)
  if made > 0 then redis.call('XADD', wakeup, 'MAXLEN', 1, '*', 'for', handler) end
  return made
end
