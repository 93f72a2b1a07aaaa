-- Lets nobody make a session that is not there, for a while: see `create`.
-- ARGV: for how many milliseconds
-- Returns 1 where there is such a session, else 0.
local meta = redis.call('HMGET', META, 'fence', 'forgotten')
if meta[1] then
  return 1
end
if not meta[2] then -- else it was deleted, and may be made anew
  redis.call('HSET', META, 'prevented', '1')
  redis.call('PEXPIRE', META, ARGV[1])
end
return 0
