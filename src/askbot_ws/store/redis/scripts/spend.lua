-- Records a name that may be used once. Returns 1 where it was not recorded yet, or by this very call before; else 0.
-- KEYS: the name's. ARGV: a word of this call, until when it counts, the time now, both in seconds since 1970
local found = redis.call('GET', KEYS[1])
if found then
  local until_, word = string.match(found, '^(%S+) (.*)$')
  if word == ARGV[1] then
    return 1
  end
  if tonumber(until_) >= tonumber(ARGV[3]) then
    return 0
  end
end
local milliseconds = math.max(1, math.ceil((ARGV[2] - ARGV[3]) * 1000))
redis.call('SET', KEYS[1], ARGV[2] .. ' ' .. ARGV[1], 'PX', string.format('%d', milliseconds))
return 1
