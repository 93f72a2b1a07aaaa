-- Reads the newest entries of the index of turns.
-- ARGV: the seq before which they are, or '+'; how many
-- Returns nothing where there is no such session, else the entries, the newest first.
if redis.call('EXISTS', META) == 0 then
  return false
end
local before = ARGV[1] == '+' and '+' or '(' .. ARGV[1] .. '-0'
return redis.call('XREVRANGE', TURNS, before, '-', 'COUNT', ARGV[2])
