-- Included by scripts that make deliveries scheduled: dispatchers that wait are woken.
--! keys wakeup
local function notify()
  redis.call('XADD', wakeup, 'MAXLEN', 1, '*', 'for', handler)
end
