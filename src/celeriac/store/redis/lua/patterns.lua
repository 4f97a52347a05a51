#!lua flags=allow-oom
-- patterns: a dispatcher adds the patterns of its code of the handler.
--
-- Guarantee: atomically, these patterns are added to those in force for the handler. Patterns in `gone`
-- that are not among them are removed. A pattern that begins with `@` is the mark of a tenant; `@` alone,
-- of all tenants, is implied without marks, and stored only with other marks.
--
-- ARGV  handler, the patterns, gone: each list sorted and joined by spaces
-- Returns the patterns in force, in the caller's order if its code has all of them.
--! keys patterns
local known, code = redis.call('GET', patterns) or '', ARGV[2]
local is_own, is_gone, is_known, kept = {}, {}, {}, {}
local function marked(list) return string.find(' ' .. list, ' @', 1, true) ~= nil end
for pattern in string.gmatch(code, '%S+') do is_own[pattern] = true end
for pattern in string.gmatch(ARGV[3], '%S+') do is_gone[pattern] = true end
for pattern in string.gmatch(known, '%S+') do
  is_known[pattern] = true
  if not is_own[pattern] and not is_gone[pattern] and pattern ~= '@' then kept[#kept + 1] = pattern end
end

-- Other code without marks gets the events of all tenants, and so does this one.
local is_of_all = (is_known['@'] or (known ~= '' and not marked(known))) and not is_gone['@']
local others = table.concat(kept, ' ')
if marked(code) then
  if is_of_all and not is_own['@'] then others = others == '' and '@' or others .. ' @' end
elseif marked(others) then
  code = code .. ' @'
end
local all = others == '' and code or code .. ' ' .. others

local count, known_count = 0, 0
for pattern in string.gmatch(all, '%S+') do
  count = count + 1
  if not is_known[pattern] then count = -1 break end
end
for _ in pairs(is_known) do known_count = known_count + 1 end
if count == known_count then return known end
redis.call('SET', patterns, all)
return all
