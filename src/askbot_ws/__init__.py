"""askbot-ws: conversations with a model over WebSocket, on a log that loses nothing."""

__version__ = "0.1.0"
