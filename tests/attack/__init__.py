"""Attack: what a stranger with a raw socket could do to a server, while honest users talk to it."""
