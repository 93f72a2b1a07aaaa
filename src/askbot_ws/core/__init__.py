"""The decisions: plain machines without I/O, clock, task or log line."""
