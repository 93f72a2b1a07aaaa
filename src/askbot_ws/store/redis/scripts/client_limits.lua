-- What one client uses on all nodes: rates, tokens of the day, sessions and running turns.
--
-- KEYS: 1 hash: levels of the rates, tokens of the day, count of sessions
--       2 sorted set: running turns by the moment at which they expire
--       3 sorted set: turns with reserved tokens, the same
--       4 hash: the reserved tokens of each turn, and their sum as `total`
-- ARGV: 1 what to do, then its arguments; an empty limit is none. Moments are in milliseconds, by this server's clock.

local state, turns, reservations, reserved = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local DAY, HOUR, MINUTE = 86400000, 3600000, 60000

local function text(number)
  return string.format('%.0f', number) -- tostring would round it
end

local function keep(milliseconds)
  milliseconds = math.ceil(math.max(HOUR, milliseconds))
  if redis.call('PTTL', state) < milliseconds then redis.call('PEXPIRE', state, text(milliseconds)) end
end

-- Rates: a bucket that empties within a minute, as `TokenBucket`. What it holds, and since when.

local function level_of(rate, limit)
  local kept = redis.call('HGET', state, rate)
  if not kept then return 0 end
  local level, at = string.match(kept, '^(%S+) (%S+)$')
  return math.max(0, level - math.max(0, now - at) * limit / MINUTE)
end

local function set_level(rate, level, limit)
  redis.call('HSET', state, rate, string.format('%.3f %.0f', math.max(0, level), now))
  keep(level * MINUTE / limit)
end

local function wait_for(rate, limit, amount)
  local excess = level_of(rate, limit) + math.min(amount, limit) - limit
  return math.max(0, excess * MINUTE / limit)
end

-- Tokens of the day, in UTC. The store has the count; a copy is here.

local today = math.floor(now / DAY)

local function set_used(day, count)
  if tonumber(day) ~= today then return end
  local known = redis.call('HMGET', state, 'day', 'used')
  if tonumber(known[1]) == today then count = math.max(count, known[2]) end
  redis.call('HSET', state, 'day', text(today), 'used', text(count))
  keep(HOUR)
end

local function unreserve(turn)
  local tokens = redis.call('HGET', reserved, turn)
  if tokens then
    redis.call('HDEL', reserved, turn)
    redis.call('HINCRBY', reserved, 'total', '-' .. tokens)
  end
  redis.call('ZREM', reservations, turn)
end

local function reserve(turn, tokens, lease)
  unreserve(turn)
  redis.call('HSET', reserved, turn, tokens)
  redis.call('HINCRBY', reserved, 'total', tokens)
  redis.call('ZADD', reservations, text(now + lease), turn)
  redis.call('PEXPIRE', reservations, lease)
  redis.call('PEXPIRE', reserved, lease)
end

-- Whether so many more tokens fit into the day: nil, or the reply that says why not.
local function check_day(limit, tokens)
  if limit == '' then return nil end
  local known = redis.call('HMGET', state, 'day', 'used')
  if tonumber(known[1]) ~= today then return {'read_usage', today} end
  for _, turn in ipairs(redis.call('ZRANGEBYSCORE', reservations, '-inf', text(now))) do unreserve(turn) end
  local total = redis.call('HGET', reserved, 'total') or 0
  if known[2] + total + tokens > tonumber(limit) then return {'day_used_up', DAY - now % DAY} end
  return nil
end

-- Running turns.

local function add_turn(turn, lease)
  redis.call('ZADD', turns, text(now + lease), turn)
  redis.call('PEXPIRE', turns, lease)
end

local function start(turn, limit, lease)
  redis.call('ZREMRANGEBYSCORE', turns, '-inf', text(now))
  if not redis.call('ZSCORE', turns, turn) and redis.call('ZCARD', turns) >= tonumber(limit) then return 0 end
  add_turn(turn, lease)
  return 1
end

-- Sessions of a user: counted in the store, up to a limit, and again where a count that reaches it is a minute old.

local function check_sessions(limit)
  if limit == '' then return nil end
  limit = tonumber(limit)
  local known = redis.call('HMGET', state, 'sessions', 'counted_to', 'counted_at')
  if not known[1] or tonumber(known[2]) < limit then return {'count_sessions', limit} end
  if tonumber(known[1]) < limit then return nil end
  if now - known[3] >= MINUTE then return {'count_sessions', limit} end
  return {'too_many_sessions', limit}
end

local function set_sessions(limit, count)
  local refusal = check_sessions(limit)
  if refusal and refusal[1] == 'count_sessions' then -- else another node was faster
    redis.call('HSET', state, 'sessions', count, 'counted_to', limit, 'counted_at', text(now))
  end
end

local function add_sessions(number)
  local known = redis.call('HMGET', state, 'sessions', 'counted_to')
  if not known[1] then return end
  if number < 0 and tonumber(known[1]) >= tonumber(known[2]) then
    redis.call('HDEL', state, 'sessions', 'counted_to', 'counted_at') -- there may be more than were counted
  else
    redis.call('HINCRBY', state, 'sessions', number)
  end
end

local RATES = {'questions', 'characters', 'tokens'}
local actions = {}

-- Count a question, all of it or nothing. Its turn is started where `turn_limit` is given.
function actions.acquire(lease, used_day, used, counted, questions, question_limit, characters, character_limit, tokens,
    token_limit, day_limit, session_limit, turn, turn_limit)
  local amounts = {questions, characters, tokens}
  local limits = {question_limit, character_limit, token_limit}
  if used ~= '' then set_used(used_day, used) end
  if counted ~= '' then set_sessions(session_limit, counted) end
  local refusal = check_sessions(session_limit) or check_day(day_limit, tokens)
  if refusal then return refusal end
  local wait = 0
  for i, rate in ipairs(RATES) do
    if limits[i] ~= '' and tonumber(amounts[i]) > 0 then wait = math.max(wait, wait_for(rate, limits[i], amounts[i])) end
  end
  if wait > 0 then return {'too_fast', math.ceil(wait)} end
  for i, rate in ipairs(RATES) do
    if limits[i] ~= '' and tonumber(amounts[i]) > 0 then
      set_level(rate, level_of(rate, limits[i]) + amounts[i], limits[i])
    end
  end
  if session_limit ~= '' then add_sessions(1) end
  return {'taken', turn_limit ~= '' and start(turn, turn_limit, lease) or 0}
end

function actions.start(turn, limit, lease)
  return {'taken', start(turn, limit, lease)}
end

function actions.reserve(lease, used_day, used, _, day_limit, turn, tokens)
  if used ~= '' then set_used(used_day, used) end
  local refusal = check_day(day_limit, tokens)
  if refusal then return refusal end
  reserve(turn, tokens, lease)
  return {'taken', 0}
end

-- Count a turn as running no more, and correct the rates; its reserved tokens stay until `used`.
function actions.settle(turn, questions, question_limit, characters, character_limit, tokens, token_limit, sessions)
  local amounts = {questions, characters, tokens}
  local limits = {question_limit, character_limit, token_limit}
  for i, rate in ipairs(RATES) do
    if limits[i] ~= '' and tonumber(amounts[i]) ~= 0 then
      set_level(rate, level_of(rate, limits[i]) + amounts[i], limits[i])
    end
  end
  if tonumber(sessions) ~= 0 then add_sessions(tonumber(sessions)) end
  redis.call('ZREM', turns, turn)
  return {'taken', 0}
end

-- The count of the store has become larger by what these turns have used.
function actions.used(day, count, ...)
  set_used(day, count)
  for _, turn in ipairs({...}) do unreserve(turn) end
  return {'taken', 0}
end

function actions.forget()
  redis.call('HDEL', state, 'day', 'used')
  return {'taken', 0}
end

-- Turns still run: for each its id, whether it counts as one of its client's, and its reserved tokens.
function actions.renew(lease, ...)
  local given = {...}
  for i = 1, #given, 3 do
    if given[i + 1] == '1' then add_turn(given[i], lease) end
    if given[i + 2] ~= '0' then reserve(given[i], given[i + 2], lease) end
  end
  return {'taken', 0}
end

return actions[ARGV[1]](unpack(ARGV, 2))
