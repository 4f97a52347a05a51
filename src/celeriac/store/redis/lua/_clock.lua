-- Included by fetch. The server's clock may step back: it was corrected, or a replica with another
-- clock was promoted. The times of the group were set by the earlier clock.
-- For each handler, the hash `clocks` has the time of the last check, the last step back in ms, and
-- when it was detected; `doctor` reports it. Same as in enqueue_due.lua.
--! keys stream scheduled clocks
local CLOCK_TOLERANCE_MS = 1000

-- Moves scheduled times by the step and restarts the leases. Returns true if the clock stepped back.
local function correct_times(pending)
  local noted = redis.call('HGET', clocks, handler) or '0 0 0'
  local seen, last_step, stepped_at = string.match(noted, '^(%d+) (%d+) (%d+)$')
  local step = (tonumber(seen) or 0) - now
  if math.abs(step) < CLOCK_TOLERANCE_MS then return end
  if step > 0 then last_step, stepped_at = step, now end
  redis.call('HSET', clocks, handler, string.format('%.0f %.0f %.0f', now, last_step or 0, stepped_at or 0))
  if step < 0 then return end
  local times = redis.call('ZRANGE', scheduled, 0, -1, 'WITHSCORES')
  for i = 1, #times, 2 do
    redis.call('ZADD', scheduled, times[i + 1] - step, times[i])
  end
  for _, consumer in ipairs(pending[4] or {}) do
    local first = '-'
    while consumer[1] ~= 'scheduled' and consumer[1] ~= 'blocked' do
      local claimed = redis.call('XPENDING', stream, handler, first, '+', 1000, consumer[1])
      for _, p in ipairs(claimed) do
        redis.call('XCLAIM', stream, handler, consumer[1], 0, p[1], 'JUSTID')
      end
      if #claimed < 1000 then break end
      first = '(' .. claimed[#claimed][1]
    end
  end
  return true
end
