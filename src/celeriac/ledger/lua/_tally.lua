-- Included by finish: what a handler did, counted by event type, for all time and by the minute.
-- Fields are `<type> <what>`; what is an outcome, or `run`, `wait`, `total` with a bucket (see
-- ledger/tally.py) or with the sum in µs. A minute's hash lives for an hour after its first write.
local MOST_FIELDS, MINUTE_LIVES_MS = 4000, 3660000
local OTHER = 'other'
local tallies = base .. 'tally:' .. handler
local tallied = {}

local function tally(type, what, n)
  local field = type .. ' ' .. what
  tallied[field] = (tallied[field] or 0) + n
end

-- Bucket k holds the durations below 2^k ms, and above the next smaller one.
local function tally_duration(type, what, us)
  local _, bucket = math.frexp(math.max(us, 1) / 1000)
  tally(type, what .. ' ' .. math.max(-4, math.min(bucket, 23)), 1)
  tally(type, what .. ' us', us)
end

-- One delivery that its holder settled. `wait` is until its first attempt began.
local function tally_settled(type, outcome, entry, attempt, took)
  if outcome == 'ignored' or outcome == 'released' then return end
  tally(type, outcome, 1)
  if outcome == 'skipped' or attempt == 0 then return end
  local total = math.max(0, now - tonumber(string.match(entry, '^%d+'))) * 1000
  tally_duration(type, 'run', took)
  if attempt == 1 then tally_duration(type, 'wait', math.max(0, total - took)) end
  if outcome == 'processed' then tally_duration(type, 'total', total) end
end

local function write_tallies()
  local minute = tallies .. ':' .. math.floor(now / 60000)
  for _, key in ipairs({tallies, minute}) do
    local full = redis.call('HLEN', key) >= MOST_FIELDS
    for field, n in pairs(tallied) do
      -- Types without bound must not fill the memory.
      if full and redis.call('HEXISTS', key, field) == 0 then
        field = string.gsub(field, '^%S+', OTHER)
      end
      redis.call('HINCRBY', key, field, n)
    end
  end
  redis.call('PEXPIRE', minute, MINUTE_LIVES_MS, 'NX')
end
