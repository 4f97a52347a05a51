-- edit: dead letters of one handler are resolved by edited events, which stand for theirs.
--
-- Promise: atomically, of each named dead letter that is there: the letter is gone, the edited event
-- is in the log, addressed to this handler alone, and the history of the old delivery names it. Asked
-- twice, it is done once. Who asked is recorded.
--
-- ARGV  handler, retention window ms, note (see _audit.lua), then for each: dead letter id, entry,
--       event key, id of the edited event, `type key` of it, the event
-- Returns how many were edited.
--! include _delivery.lua
--! include _matrix.lua
--! include _history.lua
--! include _emitted_events.lua
--! include _dead.lua
--! include _audit.lua
local done = 0
for i = 4, #ARGV, 6 do
  local letter, entry, event_key = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  -- First of all, because it fails where the handler was removed, and a script is not rolled back.
  holder(entry)
  if event_key ~= MARK and remove_dead(letter) then
    local field = refused_field(entry)
    if not row_of(field) then field = event_key end
    append_history(field, history_of(field), '{"at":' .. text(now) .. ',"note":' .. cjson.encode(ARGV[3])
      .. ',"edited":' .. cjson.encode(ARGV[i + 3]) .. '}')
    remember_effects(event_key, ARGV[i + 4])
    redis.call('XADD', stream, '*', 'made', ARGV[i + 5])
    done = done + 1
  end
end
audit(ARGV[3], done)
return done
