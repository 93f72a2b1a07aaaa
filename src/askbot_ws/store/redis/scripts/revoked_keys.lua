-- The list of keys that were revoked on any node.
--
-- KEYS: 1 set: the keys
--       2 string: the version, another one after each change
-- ARGV: `read`, the version that is known: replies the version and the keys, or nothing where it is the same;
--       `change`, the new version, how many keys to add, these, and the keys to remove

if ARGV[1] == 'read' then
  local version = redis.call('GET', KEYS[2]) or ''
  if version == ARGV[2] then return {} end
  return {version, redis.call('SMEMBERS', KEYS[1])}
end

for i = 4, #ARGV do
  redis.call(i < 4 + ARGV[3] and 'SADD' or 'SREM', KEYS[1], ARGV[i])
end
redis.call('SET', KEYS[2], ARGV[2])
return {}
