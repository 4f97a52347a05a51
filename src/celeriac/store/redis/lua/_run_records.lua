-- Included by the scripts that report how entries of a chunk ran.
--! keys runs
-- A smaller frame is merged into a smaller run record; both are then written to the AOF again. In bytes.
local JOIN_BELOW, RECORD_BELOW = 256, 1024
-- The max ms between the first and the last entry of a record, less than SPAN_MS in small_frame.py; the
-- number of newest records to check; and the number of values of a byte.
local WITHIN_MS, NEWEST, MAX_WORKERS = 8388608, 3, 256

local function parse(entry)
  local ms, sequence = string.match(entry, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end
local function is_less(a, b)
  local ms, sequence = parse(a)
  local other_ms, other_sequence = parse(b)
  return ms < other_ms or (ms == other_ms and sequence < other_sequence)
end

-- A record is a member of the sorted set: `after upto worker…`, a line feed, the frames. The second byte
-- of a small frame is the index of its worker in the header (see small_frame.py). Small adjacent records
-- are merged, because each would cost a hundred bytes in addition to its own. Processes report in any
-- order, so the adjacent record may be any of the newest, on either side.
local function index_of(worker, names)
  local index = 0
  for name in string.gmatch(names, '%S+') do
    if name == worker then return index, names end
    index = index + 1
  end
  return index, names .. ' ' .. worker
end

local function merge(worker, from, to, made)
  local names, newest = ' ' .. worker, redis.call('ZRANGE', runs, -NEWEST, -1)
  for i = #newest, 1, -1 do
    local other_from, other_to, other_names, frames = string.match(newest[i], '^(%S+) (%S+)([^\n]*)\n(.*)$')
    if other_from and #newest[i] < RECORD_BELOW and (other_to == from or other_from == to) then
      local is_before = other_to == from
      local first, last = is_before and other_from or from, is_before and to or other_to
      local index, all_names = index_of(worker, other_names)
      if index < MAX_WORKERS and parse(last) - parse(first) < WITHIN_MS then
        local rank = i - #newest - 1
        redis.call('ZREMRANGEBYRANK', runs, rank, rank)
        if string.byte(made) > 0 then made = string.sub(made, 1, 1) .. string.char(index) .. string.sub(made, 3) end
        return first, last, all_names, is_before and frames .. made or made .. frames
      end
    end
  end
  return from, to, names, made
end

-- Stores the frames of the entries after `from` up to `to`, inclusive.
local function add_run_record(worker, from, to, frames)
  local names = ' ' .. worker
  if #frames < JOIN_BELOW then from, to, names, frames = merge(worker, from, to, frames) end
  redis.call('ZADD', runs, string.match(to, '^%d+'), from .. ' ' .. to .. names .. '\n' .. frames)
end
