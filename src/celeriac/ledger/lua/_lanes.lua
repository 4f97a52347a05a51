-- Included by scripts that serve ordered handlers.
-- A lane is a list of the unfinished entries of one subject, oldest first. Only its head is ever
-- queued, running or due; the others are pending under the owner `parked`.
local lane_of_entry = base .. 'lanes:' .. handler

local function lane_name(body)
  local ok, event = pcall(cjson.decode, body or '')
  if not ok or type(event) ~= 'table' then return '' end
  local name = event['subject']
  if type(name) ~= 'string' then name = event['partitionkey'] end
  if type(name) ~= 'string' then name = '' end
  return name
end

-- Appends an entry to the lane of its subject; true if it is the head and may go.
local function enter_lane(entry, body)
  local lane = lane_name(body)
  local list = base .. 'lane:' .. handler .. ':' .. lane
  redis.call('HSET', lane_of_entry, entry, lane)
  return redis.call('RPUSH', list, entry) == 1
end

-- Takes a finished entry out of its lane; the next head becomes due at once.
local function leave_lane(entry)
  local lane = redis.call('HGET', lane_of_entry, entry)
  if not lane then return end
  redis.call('HDEL', lane_of_entry, entry)
  local list = base .. 'lane:' .. handler .. ':' .. lane
  redis.call('LREM', list, 1, entry)
  local head = redis.call('LINDEX', list, 0)
  if head and holder(head) == 'parked' then
    redis.call('XCLAIM', stream, handler, 'due', 0, head, 'JUSTID')
    redis.call('ZADD', due, now, head)
    ring()
  end
end
