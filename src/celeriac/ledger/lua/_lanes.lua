-- Included by scripts that serve ordered handlers.
-- A lane is a list of the unfinished entries of one subject, oldest first. Only its head is ever
-- queued, running or due; the others are pending under the owner `parked`.
--! keys stream due base lane_of_entry
--! include _ring.lua

local function lane_name(body)
  local ok, event = pcall(cjson.decode, body or '')
  if not ok or type(event) ~= 'table' then return '' end
  local name = event['subject']
  if type(name) ~= 'string' then name = event['partitionkey'] end
  if type(name) ~= 'string' then name = '' end
  return name
end

local function due_now(entry)
  redis.call('XCLAIM', stream, handler, 'due', 0, entry, 'JUSTID')
  redis.call('ZADD', due, now, entry)
end

-- Returns the head of a lane, which is due at once if it was parked. What is pending no more (its
-- group was destroyed, or somebody deleted it from the log) would close the lane for ever: it is
-- dropped.
local function open_lane(list)
  local head = redis.call('LINDEX', list, 0)
  while head and not holder(head) do
    redis.call('LPOP', list)
    redis.call('HDEL', lane_of_entry, head)
    head = redis.call('LINDEX', list, 0)
  end
  if head and holder(head) == 'parked' then
    due_now(head)
    ring()
  end
  return head
end

-- Appends a pending entry to the lane of its subject; true if it is the head and may go.
local function enter_lane(entry, body)
  local lane = lane_name(body)
  local list = base .. 'lane:' .. handler .. ':' .. lane
  if redis.call('HSET', lane_of_entry, entry, lane) == 0 then redis.call('LREM', list, 0, entry) end
  redis.call('RPUSH', list, entry)
  return open_lane(list) == entry
end

-- Takes a finished entry out of its lane; the next head becomes due at once.
local function leave_lane(entry)
  local lane = redis.call('HGET', lane_of_entry, entry)
  if not lane then return end
  redis.call('HDEL', lane_of_entry, entry)
  local list = base .. 'lane:' .. handler .. ':' .. lane
  redis.call('LREM', list, 1, entry)
  open_lane(list)
end
