-- Returns why an append failed: whether the session was forgotten (0 or 1), then its fence, history, head, merged and
-- summary, without values where there is no such session.
local found = redis.call('HMGET', META, 'fence', 'history', 'head', 'merged', 'summary')
return {redis.call('HEXISTS', META, 'forgotten'), unpack(found)}
