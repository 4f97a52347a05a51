-- Counts of requests: `type what` → count, in `counts`. Above MAX_FIELDS, a new type is counted as `other`,
-- so that an unlimited number of types does not fill the memory.
local counts = KEYS[1]
local MAX_FIELDS, OTHER = 10000, 'other'

local function counted(type)
  if redis.call('HEXISTS', counts, type .. ' begun') == 1 or redis.call('HLEN', counts) < MAX_FIELDS then
    return type
  end
  return OTHER
end
