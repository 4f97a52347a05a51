-- Included by scripts that read or write the matrix H(event, handler).
-- Rows are in two generations: the current one is written, both are read. When the current one is a
-- window old, it becomes the older one, in which all rows are then past the window. Each key expires
-- two windows after it began. So rows are kept for one to two windows, and nothing is ever scanned.
-- Key names do not contain the window: callers with different windows, as after a change, find each
-- other's rows, and the shortest window applies.
--! keys rows older_rows
local window = tonumber(ARGV[2])

-- In each generation, this field has the ms at which it began and the longest window it is kept for.
-- No event has an empty key.
local MARK = ''

-- Call this before a generation is read or written. Returns when it began and its longest window;
-- nothing if it does not exist.
local function current(key, older)
  local mark = redis.call('HGET', key, MARK)
  if not mark then return end
  local began, longest = string.match(mark, '^(%d+) (%d+)$')
  began, longest = tonumber(began), tonumber(longest)
  if now - began < window then return began, longest end
  redis.call('UNLINK', older)
  redis.call('RENAME', key, older)
end

-- Call this after a generation was written, with what `current` returned for it.
local function keep(key, began, longest)
  if began and longest >= window then return end
  began = began or now
  redis.call('HSET', key, MARK, string.format('%.0f %.0f', began, window))
  redis.call('PEXPIREAT', key, string.format('%.0f', began + 2 * window))
end

local rows_began, rows_longest = current(rows, older_rows)
local function keep_rows() keep(rows, rows_began, rows_longest) end

-- A row: state, log entry, attempt, ms from the entry's own time until now, run time in µs; for a dead
-- delivery also the id of the dead letter.
local texts = {}
local function text(number)
  local known = texts[number]
  if not known then
    known = tostring(number)
    texts[number] = known
  end
  return known
end

local function row(state, entry, attempt, took)
  return state .. ' ' .. entry .. ' ' .. text(attempt) .. ' ' .. text(now - ms_of(entry)) .. ' '
    .. text(took)
end

local function row_of(event_key)
  return redis.call('HGET', rows, event_key) or redis.call('HGET', older_rows, event_key)
end

-- Returns whether the event is finished (in this entry or another) or in flight in another entry, and
-- that entry's state. A row in flight whose entry is no longer pending (its group was destroyed) does
-- not count: no other delivery would run the event.
local function came_before(known, entry)
  if not known then return false end
  local state, of = string.match(known, '^(%S+) (%S+)')
  if state ~= 'running' and state ~= 'scheduled' then return true, state end
  return of ~= entry and holder(of) ~= nil, state
end

-- The field of an entry whose event was refused. Any producer can write an event with the key of
-- another, so it must not use that event's row. No event key begins with a line feed: see
-- event/attributes.py.
local function refused_field(entry) return '\n' .. entry end

-- Removes the row of this entry's run; a row of another entry of the same event stays. Returns true if
-- a row was removed.
local function unrecord(event_key, entry)
  local is_removed = false
  for _, key in ipairs({rows, older_rows}) do
    local known = redis.call('HGET', key, event_key)
    if known and string.match(known, '^running (%S+)') == entry then
      redis.call('HDEL', key, event_key)
      is_removed = true
    end
  end
  return is_removed
end
