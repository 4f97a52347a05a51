#!lua flags=allow-oom
-- record_calls: records finished calls of a handler, and how many of them failed.
--
-- Guarantee: atomically, a closed circuit counts them and opens if too many failed. A half-open one closes
-- after a success, opens after a failure, and releases its trial if the call had no result. An open or
-- paused one stays as it is.
--
-- KEYS  circuits of all handlers, counts of the handler
-- ARGV  handler, calls, failures, min failures, window ms, failure rate, pause ms, reason, buckets
-- Returns the circuit as JSON, '' if it is closed.
--! include _circuit.lua
local calls, failures, min_failures = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local window, failure_rate, pause = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local reason = ARGV[8]
local buckets = tonumber(ARGV[9])

local function open()
  redis.call('DEL', counts)
  return store({state = 'open', since = now, ['until'] = now + pause, reason = reason})
end

local circuit = load_circuit()
if circuit.state == 'half-open' then
  if failures > 0 then return open() end
  if calls > 0 then
    close()
    return ''
  end
  circuit.trial, circuit.trial_until, circuit.since = '', 0, math.max(now, circuit.since)
  return store(circuit)
end
if circuit.state ~= 'closed' then return cjson.encode(circuit) end
if calls == 0 then return '' end

-- The counters of the window. A key that is not a hash is replaced.
if holds_no_hash(counts) then redis.call('DEL', counts) end
local part = math.floor(now / math.max(1, window / buckets))
redis.call('HINCRBY', counts, 'c' .. part, calls)
redis.call('HINCRBY', counts, 'f' .. part, failures)
redis.call('PEXPIRE', counts, math.ceil(window) + 1000)
if failures == 0 then return '' end
local all = redis.call('HGETALL', counts)
local called, failed = 0, 0
for i = 1, #all, 2 do
  local of, n = tonumber(string.sub(all[i], 2)), tonumber(all[i + 1])
  if not of or not n or of <= part - buckets then
    redis.call('HDEL', counts, all[i])
  elseif string.sub(all[i], 1, 1) == 'c' then
    called = called + n
  else
    failed = failed + n
  end
end
if failed >= min_failures and failed >= failure_rate * called then return open() end
return ''
