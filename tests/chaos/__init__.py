"""Faults of every kind, mixed at random, and clients that hold the server to its promises meanwhile."""
