-- Included by scripts that schedule deliveries: wakes waiting dispatchers.
--! keys wakeup
local function notify()
  redis.call('XADD', wakeup, 'MAXLEN', 1, '*', 'for', handler)
end
