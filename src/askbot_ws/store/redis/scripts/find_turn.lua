-- Returns nothing where there is no such session, else a list: the turn of a question's id, where there is one.
-- ARGV: the id
if redis.call('HEXISTS', META, 'fence') == 0 then
  return false
end
return {redis.call('HGET', ASKS, ARGV[1])}
