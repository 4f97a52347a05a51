-- Included by the other scripts. The circuits of all handlers lie in one hash, so that a dispatcher
-- reads all that are not closed with one command; a closed one has no field there.
local handler = ARGV[1]
local states, counts = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- A key of another type keeps no circuit: handlers are served, and the readers report the key.
local function holds_no_hash(key)
  local type = redis.call('TYPE', key).ok
  return type ~= 'hash' and type ~= 'none'
end
local stateless = holds_no_hash(states)

-- What is no circuit counts as closed, as `celeriac.store.redis.circuits` reads it.
local NUMBERS = {open = {'since', 'until'}, paused = {'since'}, ['half-open'] = {'since', 'trial_until'}}
local function is_circuit(found)
  if type(found) ~= 'table' or not NUMBERS[found.state] then return false end
  for _, name in ipairs(NUMBERS[found.state]) do
    if type(found[name]) ~= 'number' then return false end
  end
  if found.state == 'half-open' and type(found.trial) ~= 'string' then return false end
  return found['until'] == nil or type(found['until']) == 'number'
end

-- The clock stepped back: what is timed by it lasts as long as it was meant to from here on.
local function correct_times(circuit)
  local step = (circuit.since or now) - now
  if step < 1000 then return circuit end
  circuit.since = now
  for _, name in ipairs({'until', 'trial_until'}) do
    if circuit[name] then circuit[name] = circuit[name] - step end
  end
  redis.call('HSET', states, handler, cjson.encode(circuit))
  return circuit
end

local function load_circuit()
  local stored = not stateless and redis.call('HGET', states, handler)
  if not stored then return {state = 'closed'} end
  local decoded, found = pcall(cjson.decode, stored)
  return decoded and is_circuit(found) and correct_times(found) or {state = 'closed'}
end

local function store(circuit)
  local text = cjson.encode(circuit)
  if stateless then return text end
  redis.call('HSET', states, handler, text)
  return text
end

local function close()
  redis.call('DEL', counts)
  return stateless and 0 or redis.call('HDEL', states, handler)
end
