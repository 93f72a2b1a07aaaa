"""Dialects: the protocols that clients speak, and what their connections have in common."""
