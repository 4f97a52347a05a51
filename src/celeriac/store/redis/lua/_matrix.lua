-- Included by scripts that read or write the matrix H(event, handler).
-- Rows live in two generations: the current one is written, both are read. A current one that is a
-- window old becomes the older one, whose rows are all past the window by then. Each key expires by
-- itself two windows after it began. So retention is between one and two windows, and nothing ever
-- scans. The names say nothing of the window: callers that believe in different ones, as when it was
-- just changed, find each other's rows, and the shortest of these windows is what holds.
--! keys rows older_rows
local window = tonumber(ARGV[2])

-- In each generation, this field has the ms at which it began and the longest window it is kept for.
-- No event has an empty key.
local MARK = ''

-- To be called before a generation is read or written. Returns when it began and its longest window;
-- nothing where it is not there.
local function current(key, older)
  local mark = redis.call('HGET', key, MARK)
  if not mark then return end
  local began, longest = string.match(mark, '^(%d+) (%d+)$')
  began, longest = tonumber(began), tonumber(longest)
  if now - began < window then return began, longest end
  redis.call('UNLINK', older)
  redis.call('RENAME', key, older)
end

-- To be called after a generation was written, with what `current` said of it.
local function keep(key, began, longest)
  if began and longest >= window then return end
  began = began or now
  redis.call('HSET', key, MARK, string.format('%.0f %.0f', began, window))
  redis.call('PEXPIREAT', key, string.format('%.0f', began + 2 * window))
end

local rows_began, rows_longest = current(rows, older_rows)
local function keep_rows() keep(rows, rows_began, rows_longest) end

-- A row: state, log entry, attempt, ms from the entry's own time until now, run time in µs; where
-- the state is dead, the id of the dead letter.
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

-- Whether the event is settled (in this entry or another), or in flight in another entry; then also
-- that entry's state. One that was in flight and is not any more (its group was destroyed) does not
-- count: no other delivery would run the event.
local function came_before(known, entry)
  if not known then return false end
  local state, of = string.match(known, '^(%S+) (%S+)')
  if state ~= 'running' and state ~= 'scheduled' then return true, state end
  return of ~= entry and holder(of) ~= nil, state
end

-- The field of an entry whose event was refused: anyone can write an event with the key of another,
-- so it must not take that event's row. No event key begins with it: see event/attributes.py.
local function refused_field(entry) return '\n' .. entry end

-- Takes this entry's row back; the row of another entry of the same event stands. True if there
-- was one to take.
local function unrecord(event_key, entry)
  local own = false
  for _, key in ipairs({rows, older_rows}) do
    local known = redis.call('HGET', key, event_key)
    if known and string.match(known, '^running (%S+)') == entry then
      redis.call('HDEL', key, event_key)
      own = true
    end
  end
  return own
end
