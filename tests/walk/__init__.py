"""A random walk of the hub over a real SQLite store, with faults of disk, sync and clock."""
