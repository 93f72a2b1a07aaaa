"""Cases that all clients play against a server which misbehaves: Python, Python without asyncio, and askbot.js."""
