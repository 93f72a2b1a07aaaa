"""Users of a server in tests: whoever says a name as a token is the user of that name."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from typer.testing import CliRunner

from askbot_ws.auth import Authenticator
from askbot_ws.auth.authenticator import AuthMethods
from askbot_ws.cli import app
from askbot_ws.config import from_keywords
from askbot_ws.core.principal import Principal
from askbot_ws.hub import Hub, Policy
from askbot_ws.server.app import Server
from askbot_ws.server.listening import bind
from askbot_ws.store.memory import MemoryStore
from askbot_ws.upstream import Upstream

EXPIRES = 1_900_000_000.0  # of every credential, in seconds since 1970


class NamesAsTokens:
    """Tokens: `ann`, or `ann:SESSION` for one of her sessions; with `ro` before the colon, for reading only."""

    async def authenticate(self, token: str) -> Principal | None:
        if not token:
            return None
        name, _, session = token.partition(":")
        user = name.removesuffix("-ro")
        return Principal(user, expires=EXPIRES, session=session or None, read_only=name != user)


@asynccontextmanager
async def serving_users(upstream: Upstream, policy: Policy | None = None) -> AsyncGenerator[Server]:
    """Run a server in this process whose clients are anonymous or say a name as their token."""
    settings = from_keywords({"port": 0, "store": "memory:", "limits": False})
    listening = bind(settings)
    async with Hub(MemoryStore(), upstream, policy or Policy()) as hub:
        server = Server(settings, hub, Authenticator(AuthMethods(tokens=NamesAsTokens()), allow_anonymous=True))
        await server.listen(listening)
        try:
            yield server
        finally:
            await hub.stop()
            await server.close()
            listening.close()


def make_key(file: Path, user: str, *more: str) -> str:
    """A new key in a file."""
    made = CliRunner().invoke(app, ["key", "new", "--keys", str(file), "--user", user, *more])
    assert made.exit_code == 0, made.output
    return made.stdout.strip()
