-- Returns how many nodes follow a session. KEYS: its channel of followers
return redis.call('PUBSUB', 'SHARDNUMSUB', KEYS[1])[2]
