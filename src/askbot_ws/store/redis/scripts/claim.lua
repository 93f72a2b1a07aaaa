-- Makes a node the owner of a session.
-- ARGV: node, the node to take over from or '', the history that begins where events may be lost
-- Returns nothing where there is no such session; the other node that owns it; or a list: the fence, the history until
-- now, then the history, head, merged and summary.
local meta = redis.call('HMGET', META, 'fence', 'history', 'replication')
if not meta[1] then
  return false
end
local counter, owner = string.match(meta[1], '^(%d+):(.*)$')
if owner ~= '' and owner ~= ARGV[1] and owner ~= ARGV[2] then
  return owner
end
local fence = string.format('%d:%s', counter + 1, ARGV[1])
local history, replication = meta[2], replication_id()
if meta[3] ~= replication then
  history = ARGV[3]
end
redis.call('HSET', META, 'fence', fence, 'history', history, 'replication', replication)
if owner ~= '' and owner ~= ARGV[1] then
  redis.call('SPUBLISH', OWNER, 'C ' .. fence)
end
local found = redis.call('HMGET', META, 'history', 'head', 'merged', 'summary')
return {fence, meta[2], unpack(found)}
