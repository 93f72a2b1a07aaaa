"""The store in a SQLite file with a journal beside it, and what maintains it."""
