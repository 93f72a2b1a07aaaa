-- Adds to a user's count of a day, once for each word, and removes old days. Returns all days with their counts.
-- KEYS: the counts, what is kept of this call. ARGV: the first day that counts, how many seconds the counts are kept, the
-- day, what to add
local days = redis.call('HKEYS', KEYS[1])
for _, day in ipairs(days) do
  if day < ARGV[1] then
    redis.call('HDEL', KEYS[1], day)
  end
end
if ARGV[4] ~= '0' and redis.call('SET', KEYS[2], '', 'NX', 'PX', 60000) then
  redis.call('HINCRBY', KEYS[1], ARGV[3], ARGV[4])
  redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return redis.call('HGETALL', KEYS[1])
