-- Included by schedule and redrive.
--! keys stream scheduled lost_runs
--! include _keyed.lua
--! include _key_of.lua
--! include _waiting.lua
--! include _history.lua

-- Makes a finished entry pending again, without attempts: scheduled at once, or behind the entries of
-- its key if the handler is ordered.
local function revive(entry, body)
  redis.call('XCLAIM', stream, handler, 'blocked', 0, entry, 'FORCE', 'JUSTID', 'RETRYCOUNT', 1)
  redis.call('HDEL', lost_runs, entry)
  if flow_control then
    local flow_key, position = key_of(body), position_behind_all(entry)
    redis.call('HSET', keyed, entry, flow_key and noted('-', flow_key, position) or '.')
    if flow_key and flow_control.ordered and not enter(entry, flow_key, position, true) then return end
  end
  redis.call('XCLAIM', stream, handler, 'scheduled', 0, entry, 'JUSTID')
  redis.call('ZADD', scheduled, now, entry)
end

-- Begins another life of the delivery. Its row is removed. Its failures stay, followed by a line with
-- the time, the operator's note and the old row. An entry that was refused has a row of its own: the
-- row of the key belongs to another entry.
local function begin_again(event_key, entry, note)
  local field = refused_field(entry)
  local row = row_of(field) or row_of(event_key)
  if redis.call('HDEL', rows, field) + redis.call('HDEL', older_rows, field) == 0 then
    field = event_key
    if event_key == MARK then return end
    redis.call('HDEL', rows, event_key)
    redis.call('HDEL', older_rows, event_key)
  end
  local past = history_of(field)
  if past or row then
    local line = '{"at":' .. text(now) .. ',"note":' .. cjson.encode(note)
    if row then line = line .. ',"row":' .. cjson.encode(row) end
    append_history(field, past, line .. '}')
  end
end
