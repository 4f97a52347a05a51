-- Included by requeue and reclaim.
-- What is left of a chunk becomes pending, entry by entry, and scheduled at once, with no attempt counted.
-- From then on each entry is a delivery of its own. Returns how many.
-- `lost` is the place in which the lease expired. Of a running chunk nothing tells which entry was
-- under way, so each has lost a run: a task of its own, and its count, find the one that kills workers.
--! keys scheduled lost_runs stats
--! include _notify.lua
local SLICE = 500

local function make_pending(id, after, upto, lost)
  local made, runs = 0, lost == 'running' and 1 or 0
  -- Before anything changes: these fail on a key of another type.
  redis.call('ZCARD', scheduled)
  redis.call('HLEN', lost_runs)
  redis.call('HLEN', stats)
  while true do
    local found = redis.call('XRANGE', stream, '(' .. after, upto, 'COUNT', SLICE)
    if #found == 0 then break end
    local claim, schedule = {'XCLAIM', stream, handler, 'scheduled', 0}, {'ZADD', scheduled}
    local lose = {'HSET', lost_runs}
    for _, item in ipairs(found) do
      claim[#claim + 1] = item[1]
      schedule[#schedule + 1] = now
      schedule[#schedule + 1] = item[1]
      lose[#lose + 1] = item[1]
      lose[#lose + 1] = 1
    end
    for _, option in ipairs({'FORCE', 'JUSTID', 'RETRYCOUNT', 1 + runs}) do claim[#claim + 1] = option end
    redis.call(unpack(claim))
    redis.call(unpack(schedule))
    if runs > 0 then redis.call(unpack(lose)) end
    made, after = made + #found, found[#found][1]
    if #found < SLICE then break end
  end
  redis.call('HDEL', chunks, id)
  if made > 0 and lost then redis.call('HINCRBY', stats, 'lost ' .. lost, made) end
  if made > 0 then notify() end
  return made
end
