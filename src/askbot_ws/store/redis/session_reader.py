"""SessionReader: runs the scripts that read a session, and shows nothing that a failover could take back."""

from __future__ import annotations

from .connections import RedisConnections
from .keys import keys_of
from .repeated import run_repeated
from .scripts import ScriptCall
from .server_connection import Argument, Reply
from .session_scripts import confirmed_script, session_script


class SessionReader:
    """Reads sessions.

    Where replicas are asked for (ASKBOT_REDIS_WAIT), they must have whatever is read: what another node has appended is
    in the primary before it is in them.
    """

    def __init__(self, connections: RedisConnections, *, replicas: int) -> None:
        """`replicas`: how many must have it."""
        self._connections = connections
        self._replicas = replicas

    async def run(self, script: str, session: str, *args: Argument) -> Reply:
        """Run a script that takes all keys of a session and changes nothing. Raises `StoreError`."""
        source = confirmed_script(script) if self._replicas else session_script(script)
        return await run_repeated(
            self._connections, ScriptCall(source, keys_of(session), args), replicas=self._replicas
        )
