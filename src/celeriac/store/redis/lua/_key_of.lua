-- Included by scripts that read the ordering key of an event. Same as in celeriac/flow_control.py and
-- `key_in_force` of store/memory/transitions.py.
--! keys patterns
local MAX_KEY_BYTES = 120

local function stored_key(value)
  local kind = type(value)
  if kind == 'boolean' then
    value = tostring(value)
  elseif kind == 'number' then
    value = string.format('%.17g', value)
  elseif kind ~= 'string' then
    return ''
  end
  if #value > MAX_KEY_BYTES or string.find(value, '%z') then return redis.sha1hex(value) end
  return value
end

local function key_at(event, path)
  local value = event
  if path == 'subject' then
    value = event['subject']
    if type(value) ~= 'string' then value = event['partitionkey'] end
    return type(value) == 'string' and stored_key(value) or ''
  end
  for segment in string.gmatch(path, '[^.]+') do
    if type(value) ~= 'table' then return '' end
    value = value[segment]
  end
  return stored_key(value)
end

local function segments_of(text)
  local segments = {}
  for segment in string.gmatch(text, '[^.]+') do segments[#segments + 1] = segment end
  return segments
end

-- Backtracks to the last `#` only, so that several of them do not multiply the time.
local function fits(pattern, segments)
  local at, of, behind, from = 1, 1, nil, nil
  while at <= #segments do
    if pattern[of] == '#' then
      behind, from, of = of + 1, at, of + 1
    elseif pattern[of] == '*' or pattern[of] == segments[at] then
      at, of = at + 1, of + 1
    elseif behind then
      from = from + 1
      at, of = from, behind
    else
      return false
    end
  end
  while pattern[of] == '#' do of = of + 1 end
  return pattern[of] == nil
end

local in_force, known_types
-- Returns whether any code of the handler subscribes to the type; true if no patterns are recorded.
local function is_subscribed(kind)
  if not in_force then
    in_force, known_types = {}, {}
    for pattern in string.gmatch(redis.call('GET', patterns) or '', '%S+') do
      in_force[#in_force + 1] = segments_of(pattern)
    end
  end
  if #in_force == 0 then return true end
  if type(kind) ~= 'string' then return false end
  if known_types[kind] == nil then
    local segments, matches = segments_of(kind), false
    for _, pattern in ipairs(in_force) do matches = matches or fits(pattern, segments) end
    known_types[kind] = matches
  end
  return known_types[kind]
end

local function is_addressed(event)
  local names, redriven = event['handlers'], event['redriven']
  if type(names) ~= 'string' and type(redriven) ~= 'string' then return true end
  local is_named, any = {}, false
  for name in string.gmatch(type(names) == 'string' and names or '', '[^ ]+') do
    is_named[name], any = true, true
  end
  if type(redriven) == 'string' and (not any or is_named[redriven]) then return redriven == handler end
  return is_named[handler] == true
end

-- Returns the key of the event in a body; nil if no code of the handler wants the event. Such an event
-- is never blocked and blocks no other.
local function key_of(body)
  local ok, event = pcall(cjson.decode, body or '')
  if not ok or type(event) ~= 'table' then
    if flow_control.quiet_ms > 0 then return nil end
    return ''
  end
  if not is_subscribed(event['type']) or not is_addressed(event) then return nil end
  return key_at(event, flow_control.key)
end
