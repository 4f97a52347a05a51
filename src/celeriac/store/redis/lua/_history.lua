-- Included by scripts that write the failed attempts of deliveries: event key → one line for each.
--! keys failures older_failures

local MAX_HISTORY = 20  -- lines, as in delivery/record.py

-- Appends a line to the history of a delivery and returns the history. It keeps the first line and
-- the last ones, so that a delivery that is retried forever stays small.
local function append_history(event_key, past, line)
  local began, longest = current(failures, older_failures)
  local all = past and (past .. '\n' .. line) or line
  local _, more = string.gsub(all, '\n', '\n')
  if more >= MAX_HISTORY then all = string.gsub(all, '\n[^\n]*', '', 1) end
  redis.call('HSET', failures, event_key, all)
  keep(failures, began, longest)
  return all
end

local function history_of(event_key)
  return redis.call('HGET', failures, event_key) or redis.call('HGET', older_failures, event_key)
end

-- Appends one failed attempt (a JSON object, or '' for none) and returns the history.
local function remember_failure(event_key, attempt)
  local past = history_of(event_key)
  if attempt == '' then return past or '' end
  return append_history(event_key, past, attempt)
end
