-- Tells followers what was appended without telling them, once enough replicas have it.
-- KEYS: channel. ARGV: message
return redis.call('SPUBLISH', KEYS[1], ARGV[1])
