-- Included by complete: counts the completed deliveries of a handler by event type, in total and by the
-- minute. Fields are `<type> <what>`. `what` is an outcome, or `run`, `wait` or `total` with a bucket
-- (see delivery/counters.py) or with the sum in µs. The hash of a minute expires after an hour.
--! keys counters
--! include _minute.lua
local MAX_FIELDS = 4000
local OTHER = 'other'
-- Type → what → n, and type → what → bucket → n: the names of fields are built once, at the end.
local counted_by_type, durations = {}, {}

local function count(type, what, n)
  local of = counted_by_type[type]
  if not of then
    of = {}
    counted_by_type[type] = of
    durations[type] = {run = {}, wait = {}, total = {}}
  end
  of[what] = (of[what] or 0) + n
end

-- Bucket k counts the durations below 2^k ms that are not in a smaller bucket.
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

local function count_duration(type, what, us)
  local of, bucket = durations[type][what], bucket_of(us)
  of[bucket] = (of[bucket] or 0) + 1
  count(type, SUM[what], us)
end

-- Counts one completed delivery. `wait` is the time until its first attempt began.
local function count_completed(type, outcome, entry, attempt, took)
  if outcome == 'ignored' or outcome == 'requeued' or outcome == 'coalesced' then return end
  count(type, outcome, 1)
  if outcome == 'skipped' or attempt == 0 then return end
  local total = math.max(0, now - ms_of(entry)) * 1000
  count_duration(type, 'run', took)
  if attempt == 1 then count_duration(type, 'wait', math.max(0, total - took)) end
  if outcome == 'processed' then count_duration(type, 'total', total) end
end

-- Same as count_completed for many processed deliveries, which are most of all.
local function count_processed(type, entries, attempts, took)
  if #entries == 0 then return end
  count(type, 'processed', #entries)
  local run, wait, total = 0, 0, 0
  local runs, waits, totals = durations[type].run, durations[type].wait, durations[type].total
  for i = 1, #entries do
    local ran, latency = took[i], math.max(0, now - ms_of(entries[i])) * 1000
    run, total = run + ran, total + latency
    local in_run, in_total = bucket_of(ran), bucket_of(latency)
    runs[in_run], totals[in_total] = (runs[in_run] or 0) + 1, (totals[in_total] or 0) + 1
    if attempts[i] == 1 then
      local waited = math.max(0, latency - ran)
      local in_wait = bucket_of(waited)
      wait, waits[in_wait] = wait + waited, (waits[in_wait] or 0) + 1
    end
  end
  count(type, SUM.run, run)
  count(type, SUM.total, total)
  if next(waits) then count(type, SUM.wait, wait) end
end

-- Returns field → n, for everything that was counted.
local function counter_fields()
  local fields = {}
  for type, of in pairs(counted_by_type) do
    for what, n in pairs(of) do fields[type .. ' ' .. what] = n end
    for what, buckets in pairs(durations[type]) do
      for bucket, n in pairs(buckets) do fields[type .. ' ' .. what .. ' ' .. bucket] = n end
    end
  end
  return fields
end

local function write_counters()
  local fields = counter_fields()
  for _, key in ipairs({counters, minute}) do
    local full = redis.call('HLEN', key) >= MAX_FIELDS
    for field, n in pairs(fields) do
      -- An unlimited number of types must not fill the memory.
      if full and redis.call('HEXISTS', key, field) == 0 then
        field = string.gsub(field, '^%S+', OTHER)
      end
      redis.call('HINCRBY', key, field, n)
    end
  end
  redis.call('PEXPIRE', minute, MINUTE_LIVES_MS, 'NX')
end
