-- Included by scripts that read or write the matrix H(event, handler).
-- Rows live in two generations, each of one retention window: the current one is written, both
-- are read, and each key expires by itself two windows after its first write. So retention is
-- between one and two windows, and nothing ever scans.
local window = tonumber(ARGV[2])
local generation = math.floor(now / window)
local rows = base .. 'matrix:' .. handler .. ':' .. generation
local older_rows = base .. 'matrix:' .. handler .. ':' .. (generation - 1)
-- Which entries of the domain were no events, so that one handler alone makes a dead letter of it.
local invalid = base .. 'invalid:' .. generation
local older_invalid = base .. 'invalid:' .. (generation - 1)
local failures = base .. 'failures:' .. handler .. ':' .. generation
local older_failures = base .. 'failures:' .. handler .. ':' .. (generation - 1)
local effects = base .. 'effects:' .. handler .. ':' .. generation
local older_effects = base .. 'effects:' .. handler .. ':' .. (generation - 1)

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

local function keep(key)
  redis.call('PEXPIRE', key, 2 * window, 'NX')
end

local function row_of(id)
  return redis.call('HGET', rows, id) or redis.call('HGET', older_rows, id)
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

-- The field of an entry whose event was refused: anyone can write an event with the id of another,
-- so it must not take that event's row. No event id begins with it: see event/attributes.py.
local function refused_field(entry) return '\n' .. entry end

-- Takes this entry's row back; the row of another entry of the same event stands. True if there
-- was one to take.
local function unrecord(id, entry)
  local own = false
  for _, key in ipairs({rows, older_rows}) do
    local known = redis.call('HGET', key, id)
    if known and string.match(known, '^running (%S+)') == entry then
      redis.call('HDEL', key, id)
      own = true
    end
  end
  return own
end

local MAX_HISTORY = 20  -- lines, as in ledger/row.py

-- Appends a line to the history of a delivery and returns all of it: the first line and the last
-- ones, so that a delivery that is retried without end stays small.
local function append_history(id, past, line)
  local all = past and (past .. '\n' .. line) or line
  local _, more = string.gsub(all, '\n', '\n')
  if more >= MAX_HISTORY then all = string.gsub(all, '\n[^\n]*', '', 1) end
  redis.call('HSET', failures, id, all)
  keep(failures)
  return all
end

local function history_of(id)
  return redis.call('HGET', failures, id) or redis.call('HGET', older_failures, id)
end

-- The delivery begins another life: its row goes, and its failures stay with a line that says when
-- and at whose request. Of an entry that was refused it is the entry's own row: the id's row belongs
-- to another entry.
local function begin_again(id, entry, note)
  local field = refused_field(entry)
  if redis.call('HDEL', rows, field) + redis.call('HDEL', older_rows, field) == 0 then
    field = id
    redis.call('HDEL', rows, id)
    redis.call('HDEL', older_rows, id)
  end
  local past = history_of(field)
  if past then
    append_history(field, past, '{"at":' .. text(now) .. ',"note":' .. cjson.encode(note) .. '}')
  end
end

-- Puts the lines of one attempt to those of the attempts before it, each once.
local function remember_effects(id, lines)
  local all = redis.call('HGET', effects, id) or redis.call('HGET', older_effects, id)
  if not all then
    all = lines
  else
    for line in string.gmatch(lines, '[^\n]+') do
      if not string.find('\n' .. all .. '\n', '\n' .. line .. '\n', 1, true) then
        all = all .. '\n' .. line
      end
    end
  end
  redis.call('HSET', effects, id, all)
  keep(effects)
end

local function forget_invalid(entry)
  redis.call('HDEL', invalid, entry)
  redis.call('HDEL', older_invalid, entry)
end

-- Appends one failed attempt (a JSON object, or '' for none) and returns the history.
local function remember_failure(id, attempt)
  local past = history_of(id)
  if attempt == '' then return past or '' end
  return append_history(id, past, attempt)
end
