-- Included by scripts that write or forget which entries of the domain were no events: one handler
-- alone makes a dead letter of each.
--! keys invalid older_invalid

local function forget_invalid(entry)
  redis.call('HDEL', invalid, entry)
  redis.call('HDEL', older_invalid, entry)
end
