"""HTTP: the Starlette application that answers all requests but WebSocket handshakes."""
