#!lua flags=allow-oom
-- patterns: a dispatcher adds the patterns of its code of the handler.
--
-- Guarantee: atomically, these patterns are added to those in force for the handler. Patterns in `gone`
-- that are not among them are removed.
--
-- ARGV  handler, the patterns, gone: each list sorted and joined by spaces
-- Returns the patterns in force, in the caller's order if its code has all of them.
--! keys patterns
local known, is_own, is_gone = redis.call('GET', patterns) or '', {}, {}
for pattern in string.gmatch(ARGV[2], '%S+') do is_own[pattern] = true end
for pattern in string.gmatch(ARGV[3], '%S+') do is_gone[pattern] = not is_own[pattern] end

local others, has_own, is_changed = {ARGV[2]}, {}, false
for pattern in string.gmatch(known, '%S+') do
  if is_own[pattern] then
    has_own[pattern] = true
  elseif is_gone[pattern] then
    is_changed = true
  else
    others[#others + 1] = pattern
  end
end
for pattern in pairs(is_own) do is_changed = is_changed or not has_own[pattern] end
if not is_changed then return known end

local all = table.concat(others, ' ')
redis.call('SET', patterns, all)
return all
