#!lua flags=allow-oom
-- trim: forgets what is both finished for every handler and over the retention.
--
-- Promise: atomically computes the smallest entry that some group has not been given or has not
-- finished, and removes nothing from there on. A new group or a replay cannot slip in between.
--
-- KEYS  base
-- ARGV  longest age ms, most entries, longest age of dead letters ms, `~` (whole nodes) or `=`
-- Returns {entries removed, dead letters removed}.
local stream, dead = KEYS[1] .. 'events', KEYS[1] .. 'dead'
local age, most, dead_age, exactness = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return {tonumber(ms), tonumber(seq)}
end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function text(id) return string.format('%.0f-%.0f', id[1], id[2]) end

local removed, buried = 0, 0
if redis.call('EXISTS', stream) == 1 then
  local cut = {math.max(now - age, 0), 0}
  local surplus = redis.call('XLEN', stream) - most
  if surplus > 0 then
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', math.min(surplus, 1000) + 1)
    local kept = parse(oldest[#oldest][1])
    if less(cut, kept) then cut = kept end
  end
  for _, group in ipairs(redis.call('XINFO', 'GROUPS', stream)) do
    local name, delivered
    for i = 1, #group, 2 do
      if group[i] == 'name' then name = group[i + 1] end
      if group[i] == 'last-delivered-id' then delivered = group[i + 1] end
    end
    local oldest_pending = redis.call('XPENDING', stream, name)[2]
    local unfinished
    if oldest_pending then
      unfinished = parse(oldest_pending)
    else
      unfinished = parse(delivered)
      unfinished[2] = unfinished[2] + 1
    end
    if less(unfinished, cut) then cut = unfinished end
  end
  removed = redis.call('XTRIM', stream, 'MINID', exactness, text(cut))
end
if redis.call('EXISTS', dead) == 1 then
  buried = redis.call('XTRIM', dead, 'MINID', exactness, text({math.max(now - dead_age, 0), 0}))
end
return {removed, buried}
