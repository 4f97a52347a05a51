#!lua flags=allow-oom
-- announce: producers put the domains that they emit into the set of domains.
--
-- Promise: atomically, each domain that is new is added while the bus has fewer than the bound.
--
-- KEYS  the set of domains
-- ARGV  most domains, 0 for no bound; then domains
-- Returns the domains that were refused.
local most, refused = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
  if most == 0 or redis.call('SCARD', KEYS[1]) < most then
    redis.call('SADD', KEYS[1], ARGV[i])
  elseif redis.call('SISMEMBER', KEYS[1], ARGV[i]) == 0 then
    refused[#refused + 1] = ARGV[i]
  end
end
return refused
