-- Included by scripts that count by the minute. The caller passes the counters of three minutes, by
-- its estimate of the server's clock; `minute` is the current one.
--! keys last_minute this_minute next_minute
local MINUTE_LIVES_MS = 3660000
local minute
local minute_now = ':' .. math.floor(now / 60000)
for _, key in ipairs({last_minute, this_minute, next_minute}) do
  if string.sub(key, -#minute_now) == minute_now then minute = key end
end
-- The caller then reads the clock and repeats the call.
if not minute then return redis.error_reply('CLOCK the caller is more than a minute off') end
