-- Leaves a session without an owner, where the caller is it.
-- KEYS: meta. ARGV: fence
if redis.call('HGET', KEYS[1], 'fence') == ARGV[1] then
  redis.call('HSET', KEYS[1], 'fence', string.match(ARGV[1], '^%d+:'))
end
return 1
