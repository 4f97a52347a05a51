-- Included by the other scripts. The circuits of all handlers lie in one hash, so that a dispatcher
-- reads all that are not closed with one command; a closed one has no field there.
local handler = ARGV[1]
local states, counts = KEYS[1] .. 'states', KEYS[1] .. 'counts:' .. handler
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function load_circuit()
  local stored = redis.call('HGET', states, handler)
  return stored and cjson.decode(stored) or {state = 'closed'}
end

local function store(circuit)
  local text = cjson.encode(circuit)
  redis.call('HSET', states, handler, text)
  return text
end

local function close()
  redis.call('DEL', counts)
  return redis.call('HDEL', states, handler)
end
