"""HTTP: the Starlette application that answers every request which is no WebSocket handshake."""
