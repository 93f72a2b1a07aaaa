-- What several scripts share; it is put before each of them. They have the same first keys and arguments:
-- KEYS: meta, and where a script uses them, log, parts, turns, asks: all of these are there while the session is, as
--   calls with a key that is missing have to wait while their slot moves
local META = KEYS[1]
local FOLLOWERS = string.match(META, '^(.*):meta$') -- the channel of those who follow it
local OWNER = FOLLOWERS .. ':owner' -- the channel of its owner
local LOG, PARTS, TURNS, ASKS = FOLLOWERS .. ':log', FOLLOWERS .. ':parts', FOLLOWERS .. ':turns', FOLLOWERS .. ':asks'

-- What changes where a server may have lost what it had acknowledged: at a failover, and at a start.
local function replication_id()
  return string.match(redis.call('INFO', 'replication'), 'master_replid:(%x+)')
end

-- Writes, and changes nothing: WAIT waits for what its own connection has written, and so for all that was written before.
-- Commands that take memory would be refused while the server's is full.
local function touch()
  redis.call('PEXPIRE', META, 86400000)
  redis.call('PERSIST', META)
end

-- Adds the events of one append, and notes what goes with them.
-- ARGV: fence, expected head, new head, frames, '1' to publish, summary or '', last use or '', number of parts,
--   number of turns, number of ask ids, history and user of a new session, '1' where it was never stored; then of each
--   part its end and its frames, of each turn the event's seq, and 'q' with the turn or 'd' with its question's seq; of
--   each ask id itself and its turn
local function write(merged, history)
  local at = 14
  for _ = 1, tonumber(ARGV[8]) do
    redis.call('ZADD', PARTS, ARGV[at], ARGV[at + 1])
    merged = ARGV[at]
    at = at + 2
  end
  if merged ~= ARGV[3] or ARGV[2] == '0' then
    redis.call('XADD', LOG, ARGV[3] .. '-0', 'f', ARGV[4])
  end
  if ARGV[8] ~= '0' then
    redis.call('XTRIM', LOG, 'MINID', merged .. '-1') -- an empty stream stays
  end
  for _ = 1, tonumber(ARGV[9]) do
    redis.call('ZADD', TURNS, ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  for _ = 1, tonumber(ARGV[10]) do
    redis.call('HSETNX', ASKS, ARGV[at], ARGV[at + 1])
    at = at + 2
  end
  redis.call('HSET', META, 'head', ARGV[3], 'merged', merged)
  if ARGV[6] ~= '' then
    redis.call('HSET', META, 'summary', ARGV[6])
  end
  if ARGV[7] ~= '' then
    redis.call('HSET', META, 'used', ARGV[7])
  end
  if ARGV[5] == '1' then
    redis.call('SPUBLISH', FOLLOWERS, table.concat({'A', ARGV[2], ARGV[3], merged, history}, ' ') .. '\n' .. ARGV[4])
  end
end
