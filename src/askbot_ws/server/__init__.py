"""The sockets: what shows the log."""
