"""Target: the server that is attacked, with its settings and everything that must not leave it."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from askbot_ws.auth.key_file import add_key, make_key

from ..auth.clients import SECRET, token
from ..process import KEY, Askbot, askbot

HONEST = ("alice", "bob", "carol", "dave")
TICKET_SECRET = "a secret of tickets that nobody but the tests knows"
MARK = "attacker-credential-"  # all invented credentials have it, so that the log can be searched for it
HONEST_ROLE = {
    "max_connections_per_user": 50,
    "max_queued_per_user": 50,
    "max_sessions_per_user": 100_000,
    "max_turns_per_user": 50,
    "questions_per_minute": 6000,
    "tokens_per_minute": 10_000_000,
    "characters_per_minute": 10_000_000,
    "user_frames_per_minute": 60_000,
    "max_session_size": "16MiB",
}
COMMON: Mapping[str, str] = {
    "KEYS": "keys",
    "JWT_SECRET": SECRET,
    "TICKET_SECRET": TICKET_SECRET,
    "AUTH_COOKIE": "session",
    "MEMORY": "256KiB",  # sessions that are kept on purpose are no growth
    "LOG_LEVEL": "debug",
    "ROLES": json.dumps({"member": HONEST_ROLE}),
}
PLANS: Mapping[str, Mapping[str, str]] = {
    "default limits": {},
    "small limits": {
        "ALLOW_ANONYMOUS": "on",
        "MAX_CONNECTIONS": "300",
        "MAX_CONNECTIONS_PER_ADDRESS": "60",
        "MAX_CONNECTIONS_PER_USER": "10",
        "FRAMES_PER_MINUTE": "900",
        "USER_FRAMES_PER_MINUTE": "600",
        "QUESTIONS_PER_MINUTE": "60",
        "CHARACTERS_PER_MINUTE": "20000",
        "MAX_TURNS_PER_USER": "3",
        "MAX_QUEUED_PER_USER": "3",
        "MAX_SESSIONS_PER_USER": "20",
        "MAX_SESSION_SIZE": "64KiB",
        "MAX_WAITING": "2",
        "MAX_QUESTION": "1000",
        "MAX_FRAME": "64KiB",
        "READER_TIMEOUT": "3s",
        "HEARTBEAT": "1s",
    },
}
"""Settings by the name of a plan, in place of the defaults."""


@dataclass(frozen=True, slots=True)
class Target:
    """What attackers know of a server: where it is, and credentials of their own.

    Attributes:
        port: Where it listens.
        key: The key of a user who may chat, and nothing else.
        anonymous: Whether one may come in without a credential.
        sessions: Ids of sessions of honest users, which have leaked.
        canaries: Words in what honest users say, which nobody else may ever see.
    """

    port: int
    key: str
    anonymous: bool
    sessions: tuple[str, ...]
    canaries: tuple[str, ...]

    def dump(self) -> str:
        """Return it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def load(cls, text: str) -> Target:
        """Return what `dump` has made."""
        fields = json.loads(text)
        return cls(**fields | {"sessions": tuple(fields["sessions"]), "canaries": tuple(fields["canaries"])})


@dataclass(frozen=True, slots=True)
class Attacked:
    """A running server, and what only its honest users know."""

    server: Askbot
    plan: str
    keys: Mapping[str, str]  # the honest users', by their names, and "mallory"'s

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server.http.rpartition(":")[2])

    def target(self, sessions: tuple[str, ...], canaries: tuple[str, ...]) -> Target:
        """Return what attackers know."""
        anonymous = PLANS[self.plan].get("ALLOW_ANONYMOUS") == "on"
        return Target(self.port, self.keys["mallory"], anonymous, sessions, canaries)

    @property
    def secrets(self) -> tuple[str, ...]:
        """What may be in no log line."""
        return (
            *self.keys.values(),
            *(key.split("_", 2)[2] for key in self.keys.values()),
            KEY,
            SECRET,
            TICKET_SECRET,
            MARK,
        )


@contextmanager
def attacked_server(folder: Path, plan: str, *, upstream: str) -> Generator[Attacked]:
    """A server with the settings of a plan."""
    folder.mkdir()
    keys = dict[str, str]()
    for user in (*HONEST, "mallory"):
        made = make_key(user, now=time.time(), role="member" if user in HONEST else None)
        add_key(folder / "keys", made.key)
        keys[user] = made.text
    environ = {f"ASKBOT_{name}": value for name, value in {**COMMON, **PLANS[plan]}.items()}
    with askbot(folder, upstream=upstream, **environ) as server:
        yield Attacked(server, plan, keys)


def member_token(user: str) -> str:
    """A JSON Web Token of an honest user."""
    return token(user, role="member", exp=time.time() + 7200)


def new_canary() -> str:
    """A word that can't be anywhere by chance."""
    return f"canary{secrets.token_hex(8)}"
