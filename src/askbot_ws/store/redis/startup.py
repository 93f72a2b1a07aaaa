"""What is checked at the start: that the servers can be reached, and are what this program needs."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from ...errors import ConfigError, StoreUnavailable
from .cluster_map import ClusterMap
from .failures import WRONG_SETTINGS, ServerRefusedError
from .redis_url import Address, RedisUrl, text_of
from .sentinel_group import SentinelGroup, without_login
from .server_connection import ServerConnection, connect_to_server
from .servers import Servers, reason_of
from .topology import SingleServer, Topology

OLDEST_MAJOR = 7
LOADING_SECONDS = 10.0  # for a server that still loads its data
LOADING_PAUSE = 0.1  # seconds between two looks at it


class Fault(NamedTuple):
    """Why servers can't be used, as a sentence; `passes`: it may, without anybody changing a setting."""

    text: str
    passes: bool = False


async def find_topology(url: RedisUrl, servers: Servers) -> Topology:
    """Find out what the servers are, and whether they can be used.

    Raises:
        ConfigError: They can't be; the message lists all reasons. It has neither the password nor what servers say.
        StoreUnavailable: They can't be at the moment.
    """
    unreachable: list[Fault] = []
    for address in url.addresses:
        try:
            connection, is_sentinel = await _connect(address, url)
        except (OSError, ServerRefusedError) as error:
            unreachable.append(_failure(address, error))
            continue
        try:
            if is_sentinel:
                topology, faults = await _find_group(address, connection, url)
            else:
                topology, faults = await _find_servers(address, connection, url, servers)
        except (OSError, ServerRefusedError) as error:
            unreachable.append(_failure(address, error))
            continue
        finally:
            connection.close()
        if faults:
            raise _config_error(faults)
        return topology
    raise _config_error(unreachable)


async def _connect(address: Address, url: RedisUrl) -> tuple[ServerConnection, bool]:
    """A connection to a server, and whether that is a Sentinel, which may ask for no login."""
    try:
        connection = await connect_to_server(address, replace(url, database=0))
    except ServerRefusedError as error:
        if error.kind == "WRONGPASS" and (sentinel := await _connect_to_sentinel(address, url)):
            return sentinel, True
        raise
    return connection, await _is_sentinel(connection)


async def _connect_to_sentinel(address: Address, url: RedisUrl) -> ServerConnection | None:
    """A connection without login; None where that is refused, or the server is no Sentinel."""
    try:
        connection = await connect_to_server(address, without_login(url))
        if await _is_sentinel(connection):
            return connection
    except (OSError, ServerRefusedError):
        return None
    connection.close()
    return None


async def _is_sentinel(connection: ServerConnection) -> bool:
    return mode_of(await _info(connection)) == "sentinel"


async def _find_servers(
    address: Address, connection: ServerConnection, url: RedisUrl, servers: Servers
) -> tuple[Topology, list[Fault]]:
    """The topology of a server that is no Sentinel, and what is wrong with it."""
    info = await _info(connection)
    if mode_of(info) != "cluster":
        faults = faults_of(address, info)
        if url.service is not None:
            faults.append(Fault(f"{text_of(address)} is no Sentinel; name the Sentinels, or leave out ?service=NAME."))
        elif len(url.addresses) > 1:  # else nodes could use one each
            text = (
                f"{text_of(address)} is neither a node of a Cluster nor a Sentinel: it shares nothing with the others."
            )
            faults.append(Fault(f"{text} Name one server."))
        if url.database:
            try:
                await connection.command("SELECT", url.database)
            except ServerRefusedError:
                faults.append(Fault(f"{text_of(address)} has no database {url.database}; name another one in the URL."))
        return SingleServer(address), faults
    cluster = ClusterMap(servers, url.addresses)
    await cluster.read(address, connection)
    faults = await _faults_of_all(cluster.primaries, cluster.replicas, url)
    if cluster.missing:
        text = f"{cluster.missing} slots of the Cluster have no server; see CLUSTER INFO on {text_of(address)}."
        faults.append(Fault(text, passes=True))
    if url.database:
        faults.append(Fault("A Cluster has no database but 0; name none in the URL."))
    return cluster, faults


async def _find_group(address: Address, connection: ServerConnection, url: RedisUrl) -> tuple[Topology, list[Fault]]:
    """The topology of what a Sentinel watches, and what is wrong with it."""
    names = await _watched(connection)
    service = url.service or (names[0] if len(names) == 1 else "")
    if service not in names:
        known = ", ".join(names) or "nothing"
        text = f"{text_of(address)} is a Sentinel that watches {known}; set ?service=NAME."
        return SingleServer(address), [Fault(text)]
    group = SentinelGroup(url, service)
    await group.read(address, connection)
    primary = [] if group.only_address is None else [group.only_address]
    return group, await _faults_of_all(primary, await group.replicas(connection, address), url)


async def _watched(connection: ServerConnection) -> list[str]:
    info = await _info(connection)
    entries = [
        value for key, value in info.items() if key.startswith("master") and key.removeprefix("master").isdigit()
    ]
    return [entry.removeprefix("name=").partition(",")[0] for entry in entries]


async def _faults_of_all(primaries: Iterable[Address], replicas: Iterable[Address], url: RedisUrl) -> list[Fault]:
    """What is wrong with several servers; a replica may be unreachable, and not writable until it is a primary."""
    faults: list[Fault] = []
    for is_primary, addresses in ((True, primaries), (False, replicas)):
        for address in sorted(addresses, key=text_of):
            try:
                connection = await connect_to_server(address, replace(url, database=0))
            except (OSError, ServerRefusedError) as error:
                if is_primary or isinstance(error, ServerRefusedError):
                    faults.append(_failure(address, error))
                continue
            faults += faults_of(address, await _info(connection), is_primary=is_primary)
            connection.close()
    return faults


def mode_of(info: Mapping[str, str]) -> str:
    """Return "standalone", "sentinel" or "cluster", as Valkey 8 and newer say it, or else as Redis and Valkey 7 do."""
    return info.get("server_mode") or info.get("redis_mode", "standalone")


def faults_of(address: Address, info: Mapping[str, str], *, is_primary: bool = True) -> list[Fault]:
    """Why a server can't be used, each as a sentence with what to do about it."""
    name = text_of(address)
    faults: list[Fault] = []
    version = info.get("redis_version", "unknown")
    major = version.partition(".")[0]
    if not major.isdigit() or int(major) < OLDEST_MAJOR:
        faults.append(Fault(f"{name} is Redis {version}; use Redis 7 or newer, or Valkey."))
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        text = f"{name} deletes conversations when its memory is full (maxmemory-policy {policy});"
        faults.append(Fault(f"{text} set its maxmemory-policy to noeviction."))
    if info.get("loading") == "1":
        faults.append(Fault(f"{name} still loads its data; start again later.", passes=True))
    if is_primary and info.get("role", "master") != "master":
        faults.append(Fault(f"{name} is a replica, which can't be written; name its primary, or its Sentinels."))
    return faults


async def _info(connection: ServerConnection) -> dict[str, str]:
    """What a server says about itself; one that loads its data is waited for. Raises as `command`."""
    deadline = asyncio.get_running_loop().time() + LOADING_SECONDS
    while True:
        reply = await connection.command("INFO")
        text = reply.decode(errors="replace") if isinstance(reply, bytes) else ""
        info = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        if info.get("loading") != "1" or asyncio.get_running_loop().time() >= deadline:
            return info
        await asyncio.sleep(LOADING_PAUSE)


def _failure(address: Address, error: OSError | ServerRefusedError) -> Fault:
    if isinstance(error, ServerRefusedError):
        return Fault(f"{text_of(address)} refuses: {error}.", passes=error.kind not in WRONG_SETTINGS)
    return Fault(f"{text_of(address)} can't be reached: {reason_of(error)}.", passes=True)


def _config_error(faults: Sequence[Fault]) -> ConfigError:
    kind = StoreUnavailable if all(fault.passes for fault in faults) else ConfigError
    return kind(f"ASKBOT_STORE: {' '.join(fault.text for fault in faults)}")
