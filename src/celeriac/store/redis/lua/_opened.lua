-- Included by the scripts that open chunks, for what they return about them.
--! include _chunks.lua
--! include _ambiguous.lua
--! include _ms_of.lua

-- Returns the number of open chunks of the owner's worker.
local function count_open_chunks(owner)
  local worker, count = string.match(owner, ':.*$'), 0
  for _, stored in ipairs(redis.call('HVALS', chunks)) do
    local _, _, _, holder = parse_chunk(stored)
    if holder and string.match(holder, ':.*$') == worker then count = count + 1 end
  end
  return count
end

-- Returns the handler's run time in µs; 0 if it is unknown.
local function mean_run_time(stats)
  -- pcall: a key of another type must not fail a call that has changed something.
  local mean = redis.pcall('HGET', stats, 'mean_us')
  return type(mean) == 'string' and tonumber(mean) or 0
end
