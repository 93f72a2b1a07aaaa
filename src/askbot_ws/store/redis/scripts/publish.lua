-- Sends a message to those who follow a channel; returns how many they are here. ARGV: channel, message
return redis.call('SPUBLISH', ARGV[1], ARGV[2])
