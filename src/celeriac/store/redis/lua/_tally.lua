-- Included by finish: what a handler did, counted by event type, for all time and by the minute.
-- Fields are `<type> <what>`; what is an outcome, or `run`, `wait`, `total` with a bucket (see
-- ledger/tally.py) or with the sum in µs. A minute's hash lives for an hour after its first write.
--! keys tallies
--! include _minute.lua
local MOST_FIELDS = 4000
local OTHER = 'other'
-- Type → what → n, and type → what → bucket → n: names are put together once, at the end.
local tallied, durations = {}, {}

local function tally(type, what, n)
  local of = tallied[type]
  if not of then
    of = {}
    tallied[type] = of
    durations[type] = {run = {}, wait = {}, total = {}}
  end
  of[what] = (of[what] or 0) + n
end

-- Bucket k holds the durations below 2^k ms, and above the next smaller one.
local SUM = {run = 'run us', wait = 'wait us', total = 'total us'}
local buckets = {}
local function bucket_of(us)
  local bucket = buckets[us]
  if not bucket then
    bucket = select(2, math.frexp((us > 1 and us or 1) / 1000))
    if bucket < -4 then bucket = -4 elseif bucket > 23 then bucket = 23 end
    buckets[us] = bucket
  end
  return bucket
end

local function tally_duration(type, what, us)
  local of, bucket = durations[type][what], bucket_of(us)
  of[bucket] = (of[bucket] or 0) + 1
  tally(type, SUM[what], us)
end

-- One delivery that its holder settled. `wait` is until its first attempt began.
local function tally_settled(type, outcome, entry, attempt, took)
  if outcome == 'ignored' or outcome == 'requeued' or outcome == 'coalesced' then return end
  tally(type, outcome, 1)
  if outcome == 'skipped' or attempt == 0 then return end
  local total = math.max(0, now - ms_of(entry)) * 1000
  tally_duration(type, 'run', took)
  if attempt == 1 then tally_duration(type, 'wait', math.max(0, total - took)) end
  if outcome == 'processed' then tally_duration(type, 'total', total) end
end

-- As tally_settled for each of these that were processed, which is most of what is ever tallied.
local function tally_processed(type, entries, attempts, took)
  if #entries == 0 then return end
  tally(type, 'processed', #entries)
  local run, wait, total = 0, 0, 0
  local runs, waits, totals = durations[type].run, durations[type].wait, durations[type].total
  for i = 1, #entries do
    local ran, whole = took[i], math.max(0, now - ms_of(entries[i])) * 1000
    run, total = run + ran, total + whole
    local in_run, in_total = bucket_of(ran), bucket_of(whole)
    runs[in_run], totals[in_total] = (runs[in_run] or 0) + 1, (totals[in_total] or 0) + 1
    if attempts[i] == 1 then
      local waited = math.max(0, whole - ran)
      local in_wait = bucket_of(waited)
      wait, waits[in_wait] = wait + waited, (waits[in_wait] or 0) + 1
    end
  end
  tally(type, SUM.run, run)
  tally(type, SUM.total, total)
  if next(waits) then tally(type, SUM.wait, wait) end
end

-- Field → n, of all that was tallied.
local function tallied_fields()
  local fields = {}
  for type, of in pairs(tallied) do
    for what, n in pairs(of) do fields[type .. ' ' .. what] = n end
    for what, buckets in pairs(durations[type]) do
      for bucket, n in pairs(buckets) do fields[type .. ' ' .. what .. ' ' .. bucket] = n end
    end
  end
  return fields
end

local function write_tallies()
  local fields = tallied_fields()
  for _, key in ipairs({tallies, minute}) do
    local full = redis.call('HLEN', key) >= MOST_FIELDS
    for field, n in pairs(fields) do
      -- Types without bound must not fill the memory.
      if full and redis.call('HEXISTS', key, field) == 0 then
        field = string.gsub(field, '^%S+', OTHER)
      end
      redis.call('HINCRBY', key, field, n)
    end
  end
  redis.call('PEXPIRE', minute, MINUTE_LIVES_MS, 'NX')
end
