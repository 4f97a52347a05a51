-- Included by scripts that read or write the matrix H(event, handler).
-- Rows live in two generations, each of one retention window: the current one is written, both
-- are read, and each key expires by itself two windows after its first write. So retention is
-- between one and two windows, and nothing ever scans.
local window = tonumber(ARGV[2])
local generation = math.floor(now / window)
local rows = base .. 'matrix:' .. handler .. ':' .. generation
local older_rows = base .. 'matrix:' .. handler .. ':' .. (generation - 1)
local failures = base .. 'failures:' .. handler .. ':' .. generation
local older_failures = base .. 'failures:' .. handler .. ':' .. (generation - 1)

-- A row: state, log entry, attempt, ms from the entry's own time until now, run time in µs.
local function row(state, entry, attempt, took)
  local after = now - tonumber(string.match(entry, '^%d+'))
  return state .. ' ' .. entry .. ' ' .. attempt .. ' ' .. after .. ' ' .. took
end

local function keep(key)
  redis.call('PEXPIRE', key, 2 * window, 'NX')
end

local function row_of(id)
  return redis.call('HGET', rows, id) or redis.call('HGET', older_rows, id)
end

local function forget(id)
  redis.call('HDEL', rows, id)
  redis.call('HDEL', older_rows, id)
  redis.call('HDEL', failures, id)
  redis.call('HDEL', older_failures, id)
end

-- Appends one failed attempt (a JSON object) to the history and returns the whole history.
local function remember_failure(id, attempt)
  local past = redis.call('HGET', failures, id) or redis.call('HGET', older_failures, id)
  local all = past and (past .. '\n' .. attempt) or attempt
  redis.call('HSET', failures, id, all)
  keep(failures)
  return all
end
