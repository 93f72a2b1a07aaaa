-- Reads a part of an index.
-- KEYS: the index. ARGV: what ZRANGE takes after the key
return redis.call('ZRANGE', KEYS[1], unpack(ARGV))
