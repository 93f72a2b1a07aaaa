-- Makes a session with its first events, a question among them: see `write`. Returns like `append`.
-- KEYS: meta alone, as nothing is there yet
local meta = redis.call('HMGET', META, 'fence', 'head', 'forgotten')
if meta[1] then
  if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[3] then
    return 0
  end
  touch() -- another connection may have made it
  return 1
end
if meta[3] == ARGV[1] or meta[3] == '*' then
  return 0 -- it was made, and deleted since: this is a repetition that comes late; or a client was told that it is not there
end
redis.call('ZADD', PARTS, '-inf', '')
redis.call('HSET', ASKS, '', '')
redis.call('HDEL', META, 'forgotten')
redis.call('PERSIST', META)
redis.call('HSET', META, 'fence', ARGV[1], 'made', ARGV[1], 'history', ARGV[11], 'replication', replication_id())
if ARGV[12] ~= '' then
  redis.call('HSET', META, 'user', ARGV[12])
end
write('0', ARGV[11])
return 1
