#!lua flags=allow-oom
-- announce: adds the domains of a producer to the set of domains.
--
-- Guarantee: atomically, each new domain is added while the bus has fewer than the limit.
--
-- KEYS  the set of domains
-- ARGV  maximum of domains, 0 for no limit; then domains
-- Returns the domains that were refused.
local max_domains, refused = tonumber(ARGV[1]), {}
for i = 2, #ARGV do
  if max_domains == 0 or redis.call('SCARD', KEYS[1]) < max_domains then
    redis.call('SADD', KEYS[1], ARGV[i])
  elseif redis.call('SISMEMBER', KEYS[1], ARGV[i]) == 0 then
    refused[#refused + 1] = ARGV[i]
  end
end
return refused
