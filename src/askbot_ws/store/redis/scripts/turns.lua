-- Reads the newest entries of the index of turns.
-- ARGV: the seq before which they are, as ZRANGE takes it; how many
-- Returns nothing where there is no such session, else the entries with their seqs, the newest first.
if redis.call('HEXISTS', META, 'fence') == 0 then
  return false
end
return redis.call('ZRANGE', TURNS, ARGV[1], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[2], 'WITHSCORES')
