-- Returns what a list shows of a session: head, summary, user and last use; without values where there is none.
return redis.call('HMGET', META, 'head', 'summary', 'user', 'used')
