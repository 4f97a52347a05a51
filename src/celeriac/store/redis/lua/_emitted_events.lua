-- Included by complete and edit: the events that handlers emitted while they handled an event.
--! keys emitted_events older_emitted_events

local MAX_EMITTED_EVENTS = 100  -- as in event/correlation.py
-- Adds the events that one attempt emitted to those of earlier attempts: one line for each, without
-- duplicates, and at the end `+N` for N more that are not listed. Each attempt emits under new ids;
-- the limit keeps the record of an event small that is retried forever.
local function remember_emitted_events(event_key, lines)
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
        if named < MAX_EMITTED_EVENTS then
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
