#!lua flags=allow-oom
-- switch: an operator pauses or resumes a handler.
--
-- Guarantee: atomically, the circuit is paused, or closed with its counts removed.
--
-- KEYS  circuits of all handlers, counts of the handler
-- ARGV  handler, `pause` or `resume`, ms to pause for or '', reason
-- Returns the paused circuit as JSON; for `resume` 1, or 0 if it was already closed.
--! include _circuit.lua
if ARGV[2] == 'resume' then return close() end
local circuit = {state = 'paused', since = now, reason = ARGV[4]}
if ARGV[3] ~= '' then circuit['until'] = now + tonumber(ARGV[3]) end
return store(circuit)
