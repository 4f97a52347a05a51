-- Included by the scripts that report how entries of a chunk ran.
--! keys runs
-- A frame of fewer bytes is joined to a run record of fewer bytes: both are written to the AOF again.
local JOIN_BELOW, RECORD_BELOW = 256, 1024
-- The ms between the first and the last entry of a record, less than SPAN_MS in small_frame.py; how many
-- of the newest are looked at; and what a byte says.
local WITHIN_MS, NEWEST, MOST_WORKERS = 8388608, 3, 256

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
-- of a small frame is the place of its worker in the header (see small_frame.py). Small neighbours become
-- one, or each would cost a hundred bytes beside its own. Processes report in any order, so the
-- neighbour may be one of the newest, and on either side.
local function place_of(worker, names)
  local place = 0
  for name in string.gmatch(names, '%S+') do
    if name == worker then return place, names end
    place = place + 1
  end
  return place, names .. ' ' .. worker
end

local function merge(worker, from, to, made)
  local names, newest = ' ' .. worker, redis.call('ZRANGE', runs, -NEWEST, -1)
  for i = #newest, 1, -1 do
    local other_from, other_to, other_names, frames = string.match(newest[i], '^(%S+) (%S+)([^\n]*)\n(.*)$')
    if other_from and #newest[i] < RECORD_BELOW and (other_to == from or other_from == to) then
      local is_before = other_to == from
      local first, last = is_before and other_from or from, is_before and to or other_to
      local place, all_names = place_of(worker, other_names)
      if place < MOST_WORKERS and parse(last) - parse(first) < WITHIN_MS then
        local rank = i - #newest - 1
        redis.call('ZREMRANGEBYRANK', runs, rank, rank)
        if string.byte(made) > 0 then made = string.sub(made, 1, 1) .. string.char(place) .. string.sub(made, 3) end
        return first, last, all_names, is_before and frames .. made or made .. frames
      end
    end
  end
  return from, to, names, made
end

-- Keeps the frames of the entries after `from`, up to and with `to`.
local function add_run_record(worker, from, to, frames)
  local names = ' ' .. worker
  if #frames < JOIN_BELOW then from, to, names, frames = merge(worker, from, to, frames) end
  redis.call('ZADD', runs, string.match(to, '^%d+'), from .. ' ' .. to .. names .. '\n' .. frames)
end
