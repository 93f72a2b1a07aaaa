-- Deletes a session. The fence with which it was made is kept in its meta for a while: see `create`.
-- ARGV: node, for how many milliseconds; and for a sweep: the last use before which it is deleted, else ''
-- Returns a list: 1 and the user, or '' without one; 0 where there is no such session; 2 and its last use where that is
-- too new; 3 where a node has it in memory.
local meta = redis.call('HMGET', META, 'made', 'user', 'used')
if not meta[1] then
  return {0}
end
if ARGV[3] ~= '' then
  if meta[3] and tonumber(meta[3]) >= tonumber(ARGV[3]) then
    return {2, meta[3]}
  end
  local readers = redis.call('PUBSUB', 'SHARDNUMSUB', FOLLOWERS, OWNER)
  if readers[2] + readers[4] > 0 then
    return {3}
  end
end
redis.call('UNLINK', LOG, PARTS, TURNS, ASKS)
local fields = redis.call('HKEYS', META)
redis.call('HSET', META, 'forgotten', meta[1]) -- before the others go, so that the key stays
redis.call('HDEL', META, unpack(fields))
redis.call('PEXPIRE', META, ARGV[2])
redis.call('SPUBLISH', FOLLOWERS, 'D ' .. ARGV[1])
redis.call('SPUBLISH', OWNER, 'D ' .. ARGV[1])
return {1, meta[2] or ''}
