-- replay_archived: runs events of an archive through one handler again, each once in an operation.
--
-- Guarantee: atomically, each event after the position of the operation becomes a delivery without
-- attempts, and the position moves past it. An event that is still in the log is scheduled at once. Any
-- other one is appended again for this handler only. A delivery that is pending or waiting, or whose event
-- is in flight in another entry, is not changed. A repeated call changes nothing. For an ordered handler,
-- the call ends before an event in the log while the group has not fetched all events that were appended.
--
-- ARGV  handler, retention window ms, limits of its keys (see _keyed.lua) or '', note (see _audit.lua),
--       operation, '1' if these are the last events, else ''; then for each event, in the order of the log:
--       entry, event key, the event addressed to this handler only
-- Returns {`done`, `behind` or `replaced`, position, scheduled, kept}
--! include _delivery.lua
--! include _matrix.lua
local given_flow_control = ARGV[3]
--! include _revive.lua
--! include _last_run.lua
--! include _dead.lua
--! include _audit.lua
--! keys archive_replay verified older_verified
local function parse(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end
local function is_after(id, other)
  local ms, sequence = parse(id)
  local other_ms, other_sequence = parse(other)
  return ms > other_ms or (ms == other_ms and sequence > other_sequence)
end

local stored = redis.call('HMGET', archive_replay, 'operation', 'position', 'copy', 'scheduled', 'kept')
if stored[1] ~= ARGV[5] then return {'replaced'} end
local position, copy = stored[2], stored[3]
local total, kept = tonumber(stored[4]), tonumber(stored[5])
local before, ended = total, 'done'
-- First, because it fails if the memory is full, and a script is not rolled back.
redis.call('HSET', archive_replay, 'position', position)

for i = 7, #ARGV, 3 do
  local entry, event_key, addressed = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if is_after(entry, position) then
    -- First, because it fails if the handler was removed, and a script is not rolled back.
    local owner = holder(entry)
    local body = body_of(entry)
    local state, dead_letter, in_flight = last_run(entry, event_key)
    if owner or in_flight or (body and waiting(entry)) then
      kept = kept + 1
    else
      if body and flow_control and flow_control.ordered and copy ~= '' and waiting(copy) then
        ended = 'behind'
        break
      end
      if state == 'dead' then remove_dead(dead_letter) end
      begin_again(event_key, entry, ARGV[4])
      if body then
        revive(entry, body)
      else
        -- pcall: a key of another type must not fail a call that has changed something.
        redis.pcall('HDEL', verified, event_key)
        redis.pcall('HDEL', older_verified, event_key)
        copy = redis.call('XADD', stream, '*', 'redriven', addressed)
      end
      total = total + 1
    end
    position = entry
  end
end

redis.call('HSET', archive_replay, 'position', position, 'copy', copy, 'scheduled', total, 'kept', kept)
if ARGV[6] == '1' and ended == 'done' and redis.call('HSETNX', archive_replay, 'finished', 1) == 1 then
  audit(ARGV[4], total)
end
if total > before then notify() end
return {ended, position, total, kept}
