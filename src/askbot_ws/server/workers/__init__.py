"""Worker processes that serve on the same listening sockets, and the supervisor that starts, watches and ends them."""
