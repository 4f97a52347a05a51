-- Included by the scripts of circuits. The circuits of all handlers are in one hash, so that a
-- dispatcher reads all that are not closed with one command. A closed circuit has no field there.
local handler = ARGV[1]
local states, counts = KEYS[1], KEYS[2]
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

-- If the key has another type, there is no circuit: handlers run, and readers report the key.
local function holds_no_hash(key)
  local type = redis.call('TYPE', key).ok
  return type ~= 'hash' and type ~= 'none'
end
local stateless = holds_no_hash(states)

-- An invalid circuit counts as closed, as in `celeriac.store.redis.circuits`.
local NUMBERS = {open = {'since', 'until'}, paused = {'since'}, ['half-open'] = {'since', 'trial_until'}}
local function is_circuit(value)
  if type(value) ~= 'table' or not NUMBERS[value.state] then return false end
  for _, name in ipairs(NUMBERS[value.state]) do
    if type(value[name]) ~= 'number' then return false end
  end
  if value.state == 'half-open' and type(value.trial) ~= 'string' then return false end
  return value['until'] == nil or type(value['until']) == 'number'
end

-- After the clock stepped back, moves the times of a circuit along, so that its periods keep their length.
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
  local is_json, value = pcall(cjson.decode, stored)
  return is_json and is_circuit(value) and correct_times(value) or {state = 'closed'}
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
