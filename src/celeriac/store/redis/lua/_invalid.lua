-- Included by scripts that record which entries of the domain are not events: only one handler writes
-- a dead letter for each.
--! keys invalid older_invalid

local function forget_invalid(entry)
  redis.call('HDEL', invalid, entry)
  redis.call('HDEL', older_invalid, entry)
end
