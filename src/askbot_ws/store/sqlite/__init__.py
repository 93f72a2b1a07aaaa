"""SQLite store: a store in a SQLite file with a journal beside it, and its maintenance commands."""
