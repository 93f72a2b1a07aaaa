-- It is put before a script that reads: then WAIT waits for all that this may have read.
if redis.call('HEXISTS', META, 'fence') == 1 then
  touch()
end
