-- Notes a session in indexes, where it does not stand higher already.
-- KEYS: the indexes. ARGV: session, then its score in each of them
for index, key in ipairs(KEYS) do
  redis.call('ZADD', key, 'GT', ARGV[index + 1], ARGV[1])
end
return 1
