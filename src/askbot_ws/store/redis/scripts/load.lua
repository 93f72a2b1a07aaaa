-- Reads the newest part of a log: all that is not merged, and merged parts of about so many bytes.
-- ARGV: bytes
-- Returns nothing where there is no such session, else a list: history, head, merged, summary, user, the parts (the
-- newest first), what is not merged (the oldest first).
local meta = redis.call('HMGET', META, 'history', 'head', 'merged', 'summary', 'user')
if not meta[1] then
  return false
end
local parts, room = {}, tonumber(ARGV[1])
while room > 0 do
  local entry = redis.call('ZRANGE', PARTS, -1 - #parts, -1 - #parts)
  if #entry == 0 or entry[1] == '' then -- the first one is empty
    break
  end
  parts[#parts + 1] = entry[1]
  room = room - #entry[1]
end
local log = {}
for _, entry in ipairs(redis.call('XRANGE', LOG, '-', '+')) do
  log[#log + 1] = entry[2][2]
end
return {meta[1], meta[2], meta[3], meta[4], meta[5], parts, log}
