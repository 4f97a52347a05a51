#!lua flags=allow-oom
-- probe: a dispatcher requests the state of a handler's circuit before it fetches.
--
-- Guarantee: atomically, exactly one worker gets the trial of an open circuit whose pause is over, and
-- keeps it until it is silent for a lease. A manual pause whose time is over ends.
--
-- KEYS  circuits of all handlers, counts of the handler
-- ARGV  handler, worker, lease ms
-- Returns {the circuit as JSON or '' if it is closed, 1 if the worker may fetch one event}.
--! include _circuit.lua
local worker, lease = ARGV[2], tonumber(ARGV[3])
local circuit = load_circuit()
if circuit.state == 'closed' then return {'', 0} end
if circuit.state == 'paused' then
  if circuit['until'] and now >= circuit['until'] then
    close()
    return {'', 0}
  end
  return {cjson.encode(circuit), 0}
end
if circuit.state == 'open' then
  if now < circuit['until'] then return {cjson.encode(circuit), 0} end
  circuit = {state = 'half-open', since = now, reason = circuit.reason, trial = '', trial_until = 0}
end
if circuit.trial ~= worker then
  if circuit.trial ~= '' and now < circuit.trial_until then return {cjson.encode(circuit), 0} end
  -- Later than the previous trial: dispatchers distinguish trials by `since`.
  circuit.trial, circuit.since = worker, math.max(now, circuit.since + 1)
end
circuit.trial_until = now + lease
return {store(circuit), 1}
