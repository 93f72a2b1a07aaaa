-- Reads events after a position.
-- ARGV: position, about how many bytes
-- Returns nothing where there is no such session, else a list: history, head, merged, the frames, of which the first ones
-- may lie before the position, and how many nodes take themselves for its owner.
local meta = redis.call('HMGET', META, 'history', 'head', 'merged')
if not meta[1] then
  return false
end
local found, room = {}, tonumber(ARGV[2])
local first = redis.call('ZCOUNT', PARTS, '-inf', ARGV[1])
while room > 0 do
  local part = redis.call('ZRANGE', PARTS, first + #found, first + #found)
  if #part == 0 then
    break
  end
  found[#found + 1] = part[1]
  room = room - #part[1]
end
local after = '(' .. ARGV[1] .. '-0'
while room > 0 do
  local entries = redis.call('XRANGE', LOG, after, '+', 'COUNT', 16)
  if #entries == 0 then
    break
  end
  for _, entry in ipairs(entries) do
    if room > 0 then
      found[#found + 1] = entry[2][2]
      room = room - #entry[2][2]
      after = '(' .. entry[1]
    end
  end
end
return {meta[1], meta[2], meta[3], found, redis.call('PUBSUB', 'SHARDNUMSUB', OWNER)[2]}
