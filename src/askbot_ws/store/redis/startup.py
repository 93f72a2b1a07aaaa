"""What is checked at the start: that the servers can be reached, and are what this program needs."""

from __future__ import annotations

from collections.abc import Mapping

from ...errors import ConfigError
from .failures import ServerRefusedError
from .redis_url import Address, RedisUrl, text_of
from .server_connection import ServerConnection, connect_to_server
from .servers import reason_of
from .topology import SingleServer, Topology

OLDEST_MAJOR = 7


async def find_topology(url: RedisUrl) -> Topology:
    """Find out what the servers are. Raises `ConfigError` where they can't be used, for all reasons in one message."""
    unreachable: list[str] = []
    for address in url.addresses:
        try:
            connection = await connect_to_server(address, url)
            info = await read_info(connection)
        except (OSError, ServerRefusedError) as error:
            unreachable.append(f"{text_of(address)}: {reason_of(error)}")
            continue
        connection.close()
        faults = faults_of(address, info)
        if faults:
            raise ConfigError(f"ASKBOT_STORE: {' '.join(faults)}")
        return SingleServer(address)
    raise ConfigError(
        f"ASKBOT_STORE: no server can be used. {'; '.join(unreachable)}. Check the address, the password and TLS."
    )


async def read_info(connection: ServerConnection) -> dict[str, str]:
    """What a server says about itself."""
    reply = await connection.command("INFO")
    text = reply.decode() if isinstance(reply, bytes) else ""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def faults_of(address: Address, info: Mapping[str, str]) -> list[str]:
    """Why a server can't be used, each as a sentence with what to do about it."""
    name = text_of(address)
    faults: list[str] = []
    version = info.get("redis_version", "unknown")
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < OLDEST_MAJOR:
        faults.append(f"{name} is Redis {version}; use Redis 7 or newer, or Valkey.")
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        faults.append(
            f"{name} deletes conversations when its memory is full (maxmemory-policy {policy}); "
            "set maxmemory-policy to noeviction."
        )
    if info.get("role", "master") != "master":
        faults.append(f"{name} is a replica, which can't be written; name its primary, or its Sentinels.")
    return faults
