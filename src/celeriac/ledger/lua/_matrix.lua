-- Included by scripts that read or write the matrix H(event, handler).
-- Rows live in two generations: the current one is written, both are read. A current one that is a
-- window old becomes the older one, whose rows are all past the window by then. Each key expires by
-- itself two windows after it began. So retention is between one and two windows, and nothing ever
-- scans. The names say nothing of the window: callers that believe in different ones, as when it was
-- just changed, find each other's rows, and the shortest of these windows is what holds.
local window = tonumber(ARGV[2])
local rows = base .. 'matrix:' .. handler
local older_rows = rows .. ':older'
-- Which entries of the domain were no events, so that one handler alone makes a dead letter of it.
local invalid = base .. 'invalid'
local older_invalid = invalid .. ':older'
local failures = base .. 'failures:' .. handler
local older_failures = failures .. ':older'
local effects = base .. 'effects:' .. handler
local older_effects = effects .. ':older'

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
  if state ~= 'running' and state ~= 'due' then return true, state end
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

local MAX_HISTORY = 20  -- lines, as in ledger/row.py

-- Appends a line to the history of a delivery and returns all of it: the first line and the last
-- ones, so that a delivery that is retried without end stays small.
local function append_history(event_key, past, line)
  local began, longest = current(failures, older_failures)
  local all = past and (past .. '\n' .. line) or line
  local _, more = string.gsub(all, '\n', '\n')
  if more >= MAX_HISTORY then all = string.gsub(all, '\n[^\n]*', '', 1) end
  redis.call('HSET', failures, event_key, all)
  keep(failures, began, longest)
  return all
end

local function history_of(event_key)
  return redis.call('HGET', failures, event_key) or redis.call('HGET', older_failures, event_key)
end

-- The delivery begins another life: its row goes, and its failures stay with a line that says when
-- and at whose request. Of an entry that was refused it is the entry's own row: the key's row belongs
-- to another entry.
local function begin_again(event_key, entry, note)
  local field = refused_field(entry)
  if redis.call('HDEL', rows, field) + redis.call('HDEL', older_rows, field) == 0 then
    field = event_key
    if event_key == MARK then return end
    redis.call('HDEL', rows, event_key)
    redis.call('HDEL', older_rows, event_key)
  end
  local past = history_of(field)
  if past then
    append_history(field, past, '{"at":' .. text(now) .. ',"note":' .. cjson.encode(note) .. '}')
  end
end

local MOST_EFFECTS = 100  -- as in event/correlation.py
-- Adds the effects of one attempt to those of the attempts before it: a line for each that is named,
-- each once, and at the end `+N` for the number of the others. Each attempt emits under new ids, and
-- an event that is retried without end stays small.
local function remember_effects(event_key, lines)
  local began, longest = current(effects, older_effects)
  local all = redis.call('HGET', effects, event_key) or redis.call('HGET', older_effects, event_key)
  if not all then
    all = lines
  else
    local unnamed = tonumber(string.match(all, '\n%+(%d+)$') or 0)
    all = string.gsub(all, '\n%+%d+$', '')
    local named = select(2, string.gsub(all, '\n', '\n')) + 1
    for line in string.gmatch(lines, '[^\n]+') do
      local more = string.match(line, '^%+(%d+)$')
      if more then
        unnamed = unnamed + tonumber(more)
      elseif not string.find('\n' .. all .. '\n', '\n' .. line .. '\n', 1, true) then
        if named < MOST_EFFECTS then
          all, named = all .. '\n' .. line, named + 1
        else
          unnamed = unnamed + 1
        end
      end
    end
    if unnamed > 0 then all = all .. '\n+' .. unnamed end
  end
  redis.call('HSET', effects, event_key, all)
  keep(effects, began, longest)
end

local function forget_invalid(entry)
  redis.call('HDEL', invalid, entry)
  redis.call('HDEL', older_invalid, entry)
end

-- Appends one failed attempt (a JSON object, or '' for none) and returns the history.
local function remember_failure(event_key, attempt)
  local past = history_of(event_key)
  if attempt == '' then return past or '' end
  return append_history(event_key, past, attempt)
end
