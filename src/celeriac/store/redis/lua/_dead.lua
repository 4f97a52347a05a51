-- Included by scripts that write or remove dead letters. They keep a count for each handler and type
-- of error, so that counting does not read all dead letters.
--! keys dead dead_groups dead_newest

-- Same as `exception_of` in delivery/dead_group.py.
local function group_of(by, err)
  local kind = string.match(err, '^([%w_%.<>]+):') or string.match(err, '^([%w_%.<>]+)$') or ''
  return by .. ' ' .. kind
end

-- Appends a dead letter of this handler and returns its id. Takes the error, then all other fields and
-- values except the handler.
local function write_dead(err, ...)
  local dead_letter = redis.call('XADD', dead, '*', 'handler', handler, 'error', err, ...)
  local group = group_of(handler, err)
  redis.call('HINCRBY', dead_groups, group, 1)
  redis.call('HSET', dead_newest, group, dead_letter)
  return dead_letter
end

-- Removes a dead letter; returns true if it existed.
local function remove_dead(dead_letter)
  local stored = redis.call('XRANGE', dead, dead_letter, dead_letter)[1]
  if not stored then return false end
  redis.call('XDEL', dead, dead_letter)
  local is = {}
  for i = 1, #stored[2], 2 do is[stored[2][i]] = stored[2][i + 1] end
  local group = group_of(is['handler'] or '', is['error'] or '')
  if redis.call('HINCRBY', dead_groups, group, -1) <= 0 then
    redis.call('HDEL', dead_groups, group)
    redis.call('HDEL', dead_newest, group)
  end
  return true
end
