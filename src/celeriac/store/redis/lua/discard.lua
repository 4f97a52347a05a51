-- discard: removes dead letters permanently.
--
-- Guarantee: atomically, each named dead letter that exists is removed and subtracted from its group's
-- count. The operator is recorded.
--
-- ARGV  '' (no handler), note (see _audit.lua), then ids of dead letters
-- Returns the number of removed dead letters.
local handler = ARGV[1]
--! include _dead.lua
--! include _audit.lua
local done = 0
for i = 3, #ARGV do
  if remove_dead(ARGV[i]) then done = done + 1 end
end
audit(ARGV[2], done)
return done
