-- Runs one command on one key. ARGV: the command's name, its further arguments
return redis.call(ARGV[1], KEYS[1], unpack(ARGV, 2))
