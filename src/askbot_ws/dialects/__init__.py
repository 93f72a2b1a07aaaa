"""Dialects: what the clients of each protocol hear and say."""
