-- Returns how many nodes follow a session. ARGV: its channel of followers
return redis.call('PUBSUB', 'SHARDNUMSUB', ARGV[1])[2]
