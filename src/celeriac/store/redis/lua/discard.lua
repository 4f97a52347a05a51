-- discard: dead letters are removed for good.
--
-- Promise: atomically, each named dead letter that is there is gone and counted out of its group.
-- Who asked is recorded.
--
-- ARGV  '' (no handler), note (see _audit.lua), then ids of dead letters
-- Returns how many there were.
local handler = ARGV[1]
--! include _dead.lua
--! include _audit.lua
local done = 0
for i = 3, #ARGV do
  if remove_dead(ARGV[i]) then done = done + 1 end
end
audit(ARGV[2], done)
return done
