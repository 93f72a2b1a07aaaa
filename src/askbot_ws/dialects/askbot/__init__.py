"""askbot.v1: docs/protocol.md."""
