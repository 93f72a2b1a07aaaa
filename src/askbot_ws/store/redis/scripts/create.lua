-- Makes a session with its first events, a question among them, or makes one anew that the server has lost: see `write`.
-- Returns like `append`.
-- KEYS: meta alone, as nothing is there yet
local meta = redis.call('HMGET', META, 'fence', 'head', 'forgotten', 'prevented')
if meta[1] then
  if meta[1] ~= ARGV[1] or meta[2] ~= ARGV[3] then
    return 0
  end
  touch() -- another connection may have made it
  return 1
end
if meta[3] == ARGV[1] then
  return 0 -- it was made, and deleted since: this is a repetition that comes late
end
if meta[4] and ARGV[13] == '1' then
  return 0 -- a client was told that it is not there
end
redis.call('ZADD', PARTS, '-inf', '')
redis.call('HSET', ASKS, '', '')
redis.call('HDEL', META, 'forgotten', 'prevented')
redis.call('PERSIST', META)
redis.call('HSET', META, 'fence', ARGV[1], 'made', ARGV[1], 'history', ARGV[11], 'replication', replication_id())
if ARGV[12] ~= '' then
  redis.call('HSET', META, 'user', ARGV[12])
end
write('0', ARGV[11])
return 1
