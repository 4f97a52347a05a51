--! include _requests.lua
-- Requests under way: `mailbox type` → the time of expiry, in `pending`.
local pending = KEYS[2]

-- The process of an expired request died before it counted the end.
local function fail_expired()
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', pending, '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('ZREM', pending, member)
    local type = counted(string.match(member, ' (.*)$'))
    redis.call('HINCRBY', counts, type .. ' pending', -1)
    redis.call('HINCRBY', counts, type .. ' failed', 1)
  end
  return now
end
