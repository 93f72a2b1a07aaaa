-- Appends text to a session that the caller owns.
-- KEYS: meta, log
-- ARGV: fence, expected head, new head, frames, '1' to publish, channel of followers
-- Returns 1 where the text is in the log, by this call or an earlier one of the same append; 0 where it can't be added.
local meta = redis.call('HMGET', KEYS[1], 'fence', 'head', 'merged', 'history')
if meta[1] ~= ARGV[1] then
  return 0
end
if meta[2] ~= ARGV[2] then
  if meta[2] ~= ARGV[3] then
    return 0
  end
  redis.call('PEXPIRE', KEYS[1], 86400000) -- another connection may have done it: see `touch` in session.lua
  redis.call('PERSIST', KEYS[1])
  return 1
end
redis.call('XADD', KEYS[2], ARGV[3] .. '-0', 'f', ARGV[4])
redis.call('HSET', KEYS[1], 'head', ARGV[3])
if ARGV[5] == '1' then
  redis.call('SPUBLISH', ARGV[6], table.concat({'A', ARGV[2], ARGV[3], meta[3], meta[4]}, ' ') .. '\n' .. ARGV[4])
end
return 1
