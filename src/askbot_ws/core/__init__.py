"""Core: the state machines that decide what is logged; no I/O, clock, task or log line."""
