-- Included by scripts that write or remove dead letters. They keep the count of each group of them,
-- which is a handler and the type of its error, so that nobody has to read them all to count them.
--! keys dead dead_groups dead_newest

-- As `exception_of` in ledger/dead_group.py.
local function group_of(by, err)
  local kind = string.match(err, '^([%w_%.<>]+):') or string.match(err, '^([%w_%.<>]+)$') or ''
  return by .. ' ' .. kind
end

-- Appends a dead letter of this handler, given as fields and values but for the handler and the
-- error; returns its id.
local function write_dead(err, ...)
  local letter = redis.call('XADD', dead, '*', 'handler', handler, 'error', err, ...)
  local group = group_of(handler, err)
  redis.call('HINCRBY', dead_groups, group, 1)
  redis.call('HSET', dead_newest, group, letter)
  return letter
end

-- Removes a dead letter; true if it was there.
local function remove_dead(letter)
  local found = redis.call('XRANGE', dead, letter, letter)[1]
  if not found then return false end
  redis.call('XDEL', dead, letter)
  local is = {}
  for i = 1, #found[2], 2 do is[found[2][i]] = found[2][i + 1] end
  local group = group_of(is['handler'] or '', is['error'] or '')
  if redis.call('HINCRBY', dead_groups, group, -1) <= 0 then
    redis.call('HDEL', dead_groups, group)
    redis.call('HDEL', dead_newest, group)
  end
  return true
end
