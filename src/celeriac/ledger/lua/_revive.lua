-- Included by schedule and redrive.
--! keys stream lost_runs
--! include _lanes.lua
--! include _waiting.lua
--! include _history.lua

-- Makes a settled entry pending anew, without attempts: due at once, or parked in its lane.
local function revive(entry, body, ordered)
  redis.call('XCLAIM', stream, handler, 'parked', 0, entry, 'FORCE', 'JUSTID', 'RETRYCOUNT', 1)
  redis.call('HDEL', lost_runs, entry)
  if ordered then enter_lane(entry, body) else due_now(entry) end
end

-- The delivery begins another life: its row goes, and its failures stay with a line that says when,
-- at whose request, and by the row how the life before it ended. Of an entry that was refused it is the entry's own row: the key's row belongs
-- to another entry.
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
