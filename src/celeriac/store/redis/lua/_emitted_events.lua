-- Included by finish and edit: what handlers emitted while they handled an event.
--! keys emitted_events older_emitted_events

local MOST_EFFECTS = 100  -- as in event/correlation.py
-- Adds the emitted_events of one attempt to those of the attempts before it: a line for each that is named,
-- each once, and at the end `+N` for the number of the others. Each attempt emits under new ids, and
-- an event that is retried without end stays small.
local function remember_effects(event_key, lines)
  local began, longest = current(emitted_events, older_emitted_events)
  local all = redis.call('HGET', emitted_events, event_key) or redis.call('HGET', older_emitted_events, event_key)
  if not all then
    all = lines
  else
    local unnamed = tonumber(string.match(all, '\n%+(%d+)$') or 0)
    all = string.gsub(all, '\n%+%d+$', '')
    local named = select(2, string.gsub(all, '\n', '\n')) + 1
    for line in string.gmatch(lines, '[^\n]+') do
      local more = string.match(line, '^%+(%d+)$')
      if more then
        unnamed = unnamed + tonumber(more)
      elseif not string.find('\n' .. all .. '\n', '\n' .. line .. '\n', 1, true) then
        if named < MOST_EFFECTS then
          all, named = all .. '\n' .. line, named + 1
        else
          unnamed = unnamed + 1
        end
      end
    end
    if unnamed > 0 then all = all .. '\n+' .. unnamed end
  end
  redis.call('HSET', emitted_events, event_key, all)
  keep(emitted_events, began, longest)
end
