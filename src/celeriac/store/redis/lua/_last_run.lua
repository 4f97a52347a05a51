-- Included by scripts that replay deliveries.

-- Returns the state of the event's last run, its dead letter if it is dead, and the owner if it is in flight
-- in another entry.
local function last_run(entry, event_key)
  local state, of, dead_letter = string.match(row_of(refused_field(entry)) or row_of(event_key) or '',
    '^(%S+) (%S+) %S+ %S+ %S+ ?(%S*)$')
  return state, dead_letter, (state == 'running' or state == 'scheduled') and holder(of)
end
