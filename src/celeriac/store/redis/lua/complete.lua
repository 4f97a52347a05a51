#!lua flags=allow-oom
-- complete: an owner of deliveries reports their outcomes.
--
-- Guarantee: atomically, each delivery that this owner still has in this attempt moves to its next state
-- (processed, skipped, scheduled or dead), the matrix records it, and the statistics count it. A
-- delivery whose lease was lost is not changed: its new owner decides. Repeating the call after a lost
-- reply changes nothing.
--
-- ARGV  handler, retention window ms, owner, limits of its keys (see _keyed.lua) or '', mean run time
--       µs or 0, the chunk whose completion in the same transaction made these deliveries pending, or
--       '' (without that completion none is owned),
--       event type of the processed deliveries, and their entries, event keys, attempts and run times
--       in µs: four lists as MessagePack, which costs a third of as many arguments; then for each of
--       the others: entry, event key, attempt, outcome, run time µs, delay ms, failure (JSON or ''),
--       error, traceback, event type, emitted events (see _emitted_events.lua)
-- Outcomes: processed · skipped (recorded) · ignored (not meant for this handler; not recorded)
--         · coalesced (recorded, with the entry that is handled in its place instead of the error)
--         · refused (dead, without a claim on the event key) · retry (scheduled after the delay)
--         · requeued (scheduled after the delay, the attempt is not counted) · dead
-- Returns the entries that were no longer owned.
--! keys scheduled chunks lost_runs stats ids older_ids verified older_verified
--! include _delivery.lua
--! include _counters.lua
--! include _matrix.lua
local given_flow_control = ARGV[4]
--! include _keyed.lua
--! include _history.lua
--! include _emitted_events.lua
--! include _bulk_reads.lua
--! include _dead.lua
local owner, mean = ARGV[3], tonumber(ARGV[5])
local running = string.sub(owner, 1, 8) == 'running:'
local lost, counted, busy = {}, {}, 0
local must_notify = false
local done, recorded, written, again = {}, {}, {}, {}

local function record(event_key, state, entry, attempt, took, extra)
  written[event_key] = row(state, entry, attempt, took) .. (extra and ' ' .. extra or '')
  recorded[#recorded + 1], recorded[#recorded + 2] = event_key, written[event_key]
end

local function schedule(entry, delay, count)
  redis.call('XCLAIM', stream, handler, 'scheduled', 0, entry, 'JUSTID', 'RETRYCOUNT', count)
  redis.call('ZADD', scheduled, now + delay, entry)
  -- An ordered key keeps its order across retries.
  if flow_control and not flow_control.ordered then give_up_slot(entry) end
  -- For any delay: dispatchers rarely poll a group without a notification.
  must_notify = true
end

-- A refused event does not claim its id: if the id is registered with this entry, a later event with
-- the id may enter the log (see _ids.lua). It is not the verified entry of the event either.
local function contest(event_key, entry)
  for _, generation in ipairs({verified, older_verified}) do
    if redis.pcall('HGET', generation, event_key) == entry then redis.call('HDEL', generation, event_key) end
  end
  for _, generation in ipairs({ids, older_ids}) do
    local value = redis.pcall('HGET', generation, event_key)
    if type(value) == 'string' and event_key ~= '' and string.match(value, '^%d+%-%d+') == entry then
      redis.call('HSET', generation, event_key, entry .. '!')
    end
  end
end

local function dead_letter(entry, event_key, field, attempt, failure, err, traceback)
  local history = remember_failure(field, failure)
  local first = string.match(history, '"attempt":%d+,"at":(%d+)') or tostring(now)
  return write_dead(err, 'entry', entry, 'key', event_key, 'attempts', attempt, 'traceback', traceback,
    'first_failed', first, 'last_failed', tostring(now), 'event', body_of(entry) or '')
end

local plain_type, OTHERS, WORDS = ARGV[7], 9, 11
local plain, plain_keys, plain_attempts, plain_took = cmsgpack.unpack(ARGV[8])
local reported = {}
for i = 1, #plain do reported[i] = plain[i] end
for i = OTHERS, #ARGV, WORDS do reported[#reported + 1] = ARGV[i] end
local pending = holders(reported)
if ARGV[6] ~= '' then
  if redis.call('HGET', chunks, '') ~= ARGV[6] then return reported end
  redis.call('HDEL', chunks, '')
end

-- Most deliveries: a run that succeeded. Counters instead of `#`, for which Lua searches the end of
-- the table each time.
local went, attempts, took_us, others = 0, {}, {}, #ARGV >= OTHERS
for i = 1, #plain do
  local entry, event_key, attempt, took = plain[i], plain_keys[i], plain_attempts[i], plain_took[i]
  local holds = pending[entry]
  pending[entry] = nil
  if not holds or holds[2] ~= owner or holds[4] ~= attempt + 1 then
    lost[#lost + 1] = entry
  else
    local made = row('processed', entry, attempt, took)
    recorded[2 * went + 1], recorded[2 * went + 2] = event_key, made
    if others then written[event_key] = made end
    went = went + 1
    done[went], attempts[went], took_us[went] = entry, attempt, took
    busy = busy + took
    if attempt > 1 then again[#again + 1] = entry end
  end
end
if went > 0 then
  counted['processed'] = went
  count_processed(plain_type, done, attempts, took_us)
end

for i = OTHERS, #ARGV, WORDS do
  local entry, event_key, attempt, outcome = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3]
  local took, delay, failure = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5]), ARGV[i + 6]
  local _, owned_by, _, count = unpack(pending[entry] or {})
  pending[entry] = nil
  -- A queued delivery has begun count - 1 attempts; a running one has already counted its own.
  if owned_by ~= owner or count ~= attempt + 1 then
    lost[#lost + 1] = entry
  else
    -- A queued delivery, unlike a claimed one, was not compared with earlier entries of the event. A
    -- requeued one is compared when it is claimed: a running entry may be a copy that waits for it.
    if not running and outcome ~= 'ignored' and outcome ~= 'requeued' and came_before(written[event_key] or row_of(event_key), entry) then outcome = 'ignored' end
    local refused = outcome == 'refused'
    if refused then outcome = 'dead' end
    busy = busy + took
    counted[outcome] = (counted[outcome] or 0) + 1
    count_completed(ARGV[i + 9], outcome, entry, attempt, took)
    if ARGV[i + 10] ~= '' then remember_emitted_events(event_key, ARGV[i + 10]) end
    if outcome == 'retry' then
      remember_failure(event_key, failure)
      record(event_key, 'scheduled', entry, attempt, took)
      schedule(entry, delay, count)
    elseif outcome == 'requeued' then
      if running then
        count = count - 1
        local had_row = unrecord(event_key, entry)
        if had_row and attempt > 1 then record(event_key, 'scheduled', entry, attempt - 1, 0) end
      end
      schedule(entry, delay, count)
    else
      -- A claim that found no attempts left began none: see `Completion.attempts`.
      local attempts_run = tonumber(string.match(failure, '^{"attempt":(%d+)')) or attempt
      local extra = outcome == 'coalesced' and ARGV[i + 7] or nil
      if outcome == 'dead' then
        if refused then
          if running then unrecord(event_key, entry) end
          contest(event_key, entry)
        end
        local field = refused and refused_field(entry) or event_key
        extra = dead_letter(entry, event_key, field, attempts_run, failure, ARGV[i + 7], ARGV[i + 8])
      end
      if outcome == 'ignored' then
        if running then unrecord(event_key, entry) end
      else
        record(refused and refused_field(entry) or event_key, outcome, entry, attempts_run, took, extra)
      end
      if count > (running and 2 or 1) then again[#again + 1] = entry end
      done[#done + 1] = entry
    end
  end
end

in_slices(done, function(_, ...) redis.call('XACK', stream, handler, ...) end)
if flow_control then
  for i = 1, #done do must_notify = leave(done[i]) or must_notify end
end
if #recorded > 0 then
  in_slices(recorded, function(_, ...) redis.call('HSET', rows, ...) end)
  keep_rows()
end
for outcome, n in pairs(counted) do redis.call('HINCRBY', stats, outcome, n) end
in_slices(again, function(_, ...) redis.call('HDEL', lost_runs, ...) end)
if busy > 0 then redis.call('HINCRBY', stats, 'busy_us', busy) end
-- The time of a process that was frozen past its leases would not describe the handler.
if mean > 0 and next(counted) then redis.call('HSET', stats, 'mean_us', mean) end
write_counters()
if must_notify then notify() end
return lost
