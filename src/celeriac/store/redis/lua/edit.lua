-- edit: replaces dead letters of one handler by edited events.
--
-- Guarantee: atomically, for each named dead letter that exists, the dead letter is removed, the edited
-- event is appended to the log for this handler only, and the history of the old delivery names it.
-- A repeated call changes nothing. The operator is recorded.
--
-- ARGV  handler, retention window ms, note (see _audit.lua), then for each: dead letter id, entry,
--       event key, id of the edited event, its `type key`, the event
-- Returns the number of edited dead letters.
--! include _delivery.lua
--! include _matrix.lua
--! include _history.lua
--! include _emitted_events.lua
--! include _dead.lua
--! include _audit.lua
local done = 0
for i = 4, #ARGV, 6 do
  local dead_letter, entry, event_key = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  -- First, because it fails if the handler was removed, and a script is not rolled back.
  holder(entry)
  if event_key ~= MARK and remove_dead(dead_letter) then
    local field = refused_field(entry)
    if not row_of(field) then field = event_key end
    append_history(field, history_of(field), '{"at":' .. text(now) .. ',"note":' .. cjson.encode(ARGV[3])
      .. ',"edited":' .. cjson.encode(ARGV[i + 3]) .. '}')
    remember_emitted_events(event_key, ARGV[i + 4])
    redis.call('XADD', stream, '*', 'made', ARGV[i + 5])
    done = done + 1
  end
end
audit(ARGV[3], done)
return done
