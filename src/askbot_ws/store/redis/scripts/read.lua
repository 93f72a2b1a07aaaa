-- Reads events after a position.
-- ARGV: position, about how many bytes
-- Returns nothing where there is no such session, else a list: history, head, merged, and the frames; the first ones may
-- lie before the position.
local meta = redis.call('HMGET', META, 'history', 'head', 'merged')
if not meta[1] then
  return false
end
local found, room = {}, tonumber(ARGV[2])
for _, key in ipairs({PARTS, LOG}) do
  local after = '(' .. ARGV[1] .. '-0'
  while room > 0 do
    local entries = redis.call('XRANGE', key, after, '+', 'COUNT', 16)
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
end
return {meta[1], meta[2], meta[3], found}
