-- Included by scripts that run an operator's action. The action is recorded in the same call, so that
-- none goes unrecorded. `note` is JSON with the operator and the reason, or '' to record nothing.
--! keys audit_log
local function audit(note, count)
  if note ~= '' and count > 0 then
    redis.call('XADD', audit_log, 'MAXLEN', '~', 10000, '*', 'note', note, 'count', count)
  end
end
