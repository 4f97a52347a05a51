-- Included by scripts that make deliveries due: dispatchers that wait are woken.
--! keys bell
local function ring()
  redis.call('XADD', bell, 'MAXLEN', 1, '*', 'for', handler)
end
