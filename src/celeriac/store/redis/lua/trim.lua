#!lua flags=allow-oom
-- trim: removes entries that are finished for every handler and past the retention.
--
-- Guarantee: atomically computes the smallest entry that some group has not read or not finished, and
-- removes nothing from there on. A new group or a replay cannot interfere.
--
-- KEYS  the keys named below, then of each handler the open chunks, then of each the run records
-- ARGV  max age ms, max entries, max age of dead letters ms, `~` (whole nodes) or `=`,
--       max dead letters; then the handlers
-- Returns {entries removed, dead letters removed, 1 if it should be called again, entries left}. One
-- call removes a limited number, so that it never blocks the server for long. See also _groups.lua.
--! keys stream dead dead_groups dead_newest
local ARGUMENTS = 5
--! include _groups.lua
local NAMED = #KEYS - 2 * known
local age, max_entries, dead_age = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local exactness, max_dead_letters = ARGV[4], tonumber(ARGV[5])
local STEP, MAX_BY_COUNT, MAX_DEAD = 256, 10000, 1000
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return {tonumber(ms), tonumber(seq)}
end
local function less(a, b) return a[1] < b[1] or (a[1] == b[1] and a[2] < b[2]) end
local function text(id) return string.format('%.0f-%.0f', id[1], id[2]) end
-- A group that began at a point in time is at the largest sequence number, which exceeds the precision
-- of a Lua number.
local function after(id)
  return id[2] < 2 ^ 53 and {id[1], id[2] + 1} or {id[1] + 1, 0}
end

-- Same as in _dead.lua.
local function group_of(by, err)
  local kind = string.match(err, '^([%w_%.<>]+):') or string.match(err, '^([%w_%.<>]+)$') or ''
  return by .. ' ' .. kind
end

-- Returns the smallest entry that must stay; nil if there is no group.
local function unfinished()
  local smallest
  local function must_stay(id)
    if not smallest or less(id, smallest) then smallest = id end
  end
  for _, is in ipairs(groups) do
    must_stay(after(parse(is['last-delivered-id'])))
    local oldest_pending = redis.call('XPENDING', stream, is['name'])[2]
    if oldest_pending then must_stay(parse(oldest_pending)) end
    -- The entries of an open chunk follow its first word: see _chunks.lua.
    local chunks = KEYS[NAMED + place_of[is['name']]]
    if redis.call('TYPE', chunks)['ok'] == 'hash' then
      for _, chunk in ipairs(redis.call('HVALS', chunks)) do
        local begins = string.match(chunk, '^(%d+%-%d+) ')
        if begins then must_stay(after(parse(begins))) end
      end
    end
  end
  return smallest
end

local removed, surplus, more = 0, 0, false
if redis.call('EXISTS', stream) == 1 then
  local stays = unfinished()
  -- With `~` Redis stops after 100 nodes (10,000 entries). With `=` it would not, so `=` is used only
  -- when less than a node is left to remove.
  local function trim_before(id)
    if stays and less(stays, id) then id = stays end
    local gone = redis.call('XTRIM', stream, 'MINID', '~', text(id))
    if gone == 0 and exactness == '=' then
      gone = redis.call('XTRIM', stream, 'MINID', '=', text(id))
    end
    return gone
  end
  removed = trim_before({math.max(now - age, 0), 0})
  more = removed > 0
  surplus = redis.call('XLEN', stream) - max_entries
  while surplus > 0 and removed < MAX_BY_COUNT do
    local step = math.min(surplus, STEP)
    local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', step + 1)
    local kept = parse(oldest[#oldest][1])
    if #oldest == step then kept = after(kept) end
    local gone = trim_before(kept)
    removed = removed + gone
    surplus = gone > 0 and surplus - gone or 0
  end
  -- Run records are kept as long as their entries.
  local oldest = redis.call('XRANGE', stream, '-', '+', 'COUNT', 1)[1]
  for _, is in ipairs(removed > 0 and oldest and groups or {}) do
    redis.call('ZREMRANGEBYSCORE', KEYS[NAMED + known + place_of[is['name']]], '-inf',
      '(' .. string.match(oldest[1], '^%d+'))
  end
end
-- Dead letters are removed one by one to update the count of their group: see _dead.lua.
local old = redis.call('XRANGE', dead, '-', '(' .. text({math.max(now - dead_age, 0), 0}),
  'COUNT', MAX_DEAD)
local over = math.min(redis.call('XLEN', dead) - max_dead_letters, MAX_DEAD)
if over > #old then old = redis.call('XRANGE', dead, '-', '+', 'COUNT', over) end
for _, dead_letter in ipairs(old) do
  local is = {}
  for i = 1, #dead_letter[2], 2 do is[dead_letter[2][i]] = dead_letter[2][i + 1] end
  local group = group_of(is['handler'] or '', is['error'] or '')
  redis.call('XDEL', dead, dead_letter[1])
  if redis.call('HINCRBY', dead_groups, group, -1) <= 0 then
    redis.call('HDEL', dead_groups, group)
    redis.call('HDEL', dead_newest, group)
  end
end
more = more or surplus > 0 or #old == MAX_DEAD
return {removed, #old, more and 1 or 0, redis.call('XLEN', stream)}
