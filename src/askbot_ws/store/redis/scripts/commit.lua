-- Appends events of any type to a session that the caller owns: see `write`. Returns like `append`.
local meta = redis.call('HMGET', META, 'fence', 'head', 'merged', 'history')
if meta[1] ~= ARGV[1] then
  return 0
end
if meta[2] ~= ARGV[2] then
  if meta[2] ~= ARGV[3] then
    return 0
  end
  touch() -- another connection may have done it
  return 1
end
write(meta[3], meta[4])
return 1
