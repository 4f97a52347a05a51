-- Included by scripts that make finished deliveries pending again.
--! keys stream chunks

-- Returns whether the entry is in an open chunk: see _chunks.lua.
local function is_in_chunk(entry)
  local function order_of(id)
    local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
    return tonumber(ms), tonumber(sequence)
  end
  local ms, sequence = order_of(entry)
  local function is_after(id)
    local other_ms, other_sequence = order_of(id)
    return ms > other_ms or (ms == other_ms and sequence > other_sequence)
  end
  for _, chunk in ipairs(redis.call('HVALS', chunks)) do
    local after, upto, sparse = string.match(chunk, '^(%d+%-%d+) (%d+%-%d+) %d+ %S+ %d+([%d%- ]*)$')
    if after and is_after(after) and not is_after(upto)
      and (sparse == '' or string.find(sparse .. ' ', ' ' .. entry .. ' ', 1, true)) then return true end
  end
  return false
end

-- Returns whether the entry is ahead of the group, or in an open chunk: its handler gets it anyway.
local function waiting(entry)
  if is_in_chunk(entry) then return true end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local is = {}
    for i = 1, #group, 2 do is[group[i]] = group[i + 1] end
    if is['name'] == handler then
      local after = '(' .. is['last-delivered-id']
      return redis.call('XRANGE', stream, after, entry, 'COUNT', 1)[1] ~= nil
    end
  end
  return false
end
