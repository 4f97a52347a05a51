-- reply: a reply is put into the mailbox of its request.
--
-- Guarantee: atomically, it is put there if the request still waits.
--
-- KEYS  the mailbox
-- ARGV  the reply
-- Returns 1 if it was put there.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('XADD', KEYS[1], '*', 'reply', ARGV[1])
return 1
