-- Included by scripts that carry out what a person asked for: who it was is recorded in the same
-- call, so that nothing is done unseen. `note` is JSON, or '' where nobody is to be named.
--! keys audit_log
local function audit(note, count)
  if note ~= '' and count > 0 then
    redis.call('XADD', audit_log, 'MAXLEN', '~', 10000, '*', 'note', note, 'count', count)
  end
end
