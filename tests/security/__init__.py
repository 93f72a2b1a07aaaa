"""Security: what docs/security.md promises of the whole server, each by a test that docs/security.md names."""
