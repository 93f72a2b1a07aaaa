"""The server, from outside."""
