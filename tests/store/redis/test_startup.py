"""What is checked at the start: each fault has a message that says what to do, and none has the password."""

from __future__ import annotations

import ssl
from collections.abc import Generator
from pathlib import Path

import pytest
import redis as redis_package
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from askbot_ws.errors import ConfigError, StoreUnavailable
from askbot_ws.store.redis import require_redis, startup
from askbot_ws.store.redis.connections import RedisConnections
from askbot_ws.store.redis.redis_url import RedisUrl, parse_redis_url, text_of
from askbot_ws.store.redis.server_connection import pack_command
from askbot_ws.store.redis.store import RedisStore
from tests.ports import free_port
from tests.redis_server import RedisServer, redis_server

from .heard import Heard, opened
from .refusing_server import HEALTHY, refusing_server
from .scripts import add, channel_of, publish

PASSWORD = "p%/:@#?ß "
ENCODED = "p%25%2F%3A%40%23%3F%C3%9F%20"

VALID = {
    "redis://localhost": RedisUrl((("localhost", 6379),)),
    "redis://a:1,b,[::1]:2/3": RedisUrl((("a", 1), ("b", 6379), ("::1", 2)), database=3),
    "redis://a,b:1?service=main": RedisUrl((("a", 26379), ("b", 1)), service="main"),
    f"redis://me:{ENCODED}@[::1]": RedisUrl((("::1", 6379),), user="me", password=PASSWORD),
    "redis://:wo/r#d@a/": RedisUrl((("a", 6379),), password="wo/r#d"),
    "unix:///run/redis.sock?db=2": RedisUrl(("/run/redis.sock",), database=2),
    "unix://me:word@/run/redis.sock": RedisUrl(("/run/redis.sock",), user="me", password="word"),
    "redis://redis_1,[fe80::1%25eth0]": RedisUrl((("redis_1", 6379), ("fe80::1%eth0", 6379))),
}
INVALID = (
    "redis://",
    "redis:///0",
    "redis://:se?cret@host",
    "redis://secret:port",
    "redis://host:70000",
    "redis://host/secret",
    "redis://host?secret=1",
    "redis://host?secret",
    "redis://host,,other",
    "redis://::1:6379",
    "redis://[secret::1:6379",
    f"redis://host/{'9' * 5000}",
    f"redis://host:{'9' * 5000}",
    "redis://secret%00",
    "redis://secret..host",
    f"redis://{'secret' * 20}",
    "unix://secret/run/redis.sock",
    "unix://",
    "rediss://host?ssl_ca_certs=/secret/nowhere.pem",
    "rediss://host?ssl_keyfile=/secret/key.pem",
    "valkey://secret@host",
)


@pytest.mark.parametrize("url", VALID)
def test_a_url_says_where_servers_are_and_how_to_log_in(url: str) -> None:
    """All that there is to configure."""
    assert parse_redis_url(url) == VALID[url]
    assert "password" not in repr(parse_redis_url(url))


@pytest.mark.parametrize("url", INVALID)
def test_an_invalid_url_is_not_repeated(url: str) -> None:
    """Any part of it may be a part of a password."""
    with pytest.raises(ConfigError) as refused:
        parse_redis_url(url)

    assert str(refused.value).startswith("ASKBOT_STORE: ")
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_an_address_is_shown_as_it_is_written() -> None:
    """So that it can be found in the configuration."""
    assert [text_of(address) for address in (("a", 1), ("::1", 2), "/run/redis.sock")] == [
        "a:1",
        "[::1]:2",
        "/run/redis.sock",
    ]


def test_the_extra_is_named_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the command that installs it."""
    require_redis()
    found: dict[str, object] = {"redis": redis_package}
    monkeypatch.setattr("askbot_ws.store.redis.find_spec", found.get)

    with pytest.raises(ConfigError, match=r"pip install 'askbot-ws\[redis\]'"):
        require_redis()


async def test_all_faults_of_a_server_are_in_one_message() -> None:
    """Nobody mends one to be told of the next."""
    async with refusing_server() as server:
        server.info = (
            HEALTHY.replace(b"7.0.0", b"6.2.14")
            .replace(b"noeviction", b"allkeys-lru")
            .replace(b"role:master", b"role:slave")
        )

        with pytest.raises(ConfigError) as refused:
            await RedisConnections.open(server.url)

    place = f"127.0.0.1:{server.port}"
    assert str(refused.value) == (
        f"ASKBOT_STORE: {place} is Redis 6.2.14; use Redis 7 or newer, or Valkey. "
        f"{place} deletes conversations when its memory is full (maxmemory-policy allkeys-lru); "
        "set its maxmemory-policy to noeviction. "
        f"{place} is a replica, which can't be written; name its primary, or its Sentinels."
    )


@pytest.mark.parametrize("mode", ["standalone", "sentinel", "cluster"])
@pytest.mark.parametrize("name", ["redis_mode", "server_mode"])  # of Redis and Valkey 7; of Valkey 8 and newer
def test_what_a_server_is_has_two_names(name: str, mode: str) -> None:
    """Without it, a Cluster or a Sentinel would be taken for a single server."""
    assert startup.mode_of({"redis_version": "7.2.4", name: mode}) == mode


async def test_a_server_that_loads_its_data_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """For `LOADING_SECONDS`: both may be started at the same time."""
    monkeypatch.setattr(startup, "LOADING_SECONDS", 0.2)
    async with refusing_server() as server:
        server.info = HEALTHY + b"loading:1\r\n"

        with pytest.raises(ConfigError, match="still loads its data; start again later"):
            await RedisConnections.open(server.url)

    assert server.commands.count("INFO") > 1


async def test_a_server_that_is_not_there_is_passed_over(redis: RedisServer) -> None:
    """Of several addresses one is enough; the message names each."""
    gone = f"redis://127.0.0.1:{free_port()},127.0.0.1:{free_port()}"

    with pytest.raises(ConfigError) as refused:
        await RedisConnections.open(gone)

    assert str(refused.value).count("can't be reached: Connection refused.") == 2
    with pytest.raises(ConfigError, match="has no database 99"):
        await RedisConnections.open(f"{redis.url}?db=99")


async def test_several_servers_that_share_nothing_are_refused(redis: RedisServer) -> None:
    """One node would use the first, and another one, to which that is away, the second."""
    async with refusing_server() as server:
        with pytest.raises(
            ConfigError, match=r"neither a node of a Cluster nor a Sentinel.* Name one server"
        ) as refused:
            await RedisConnections.open(f"redis://127.0.0.1:{free_port()},127.0.0.1:{server.port}")
        with pytest.raises(ConfigError, match="is no Sentinel"):
            await RedisConnections.open(f"{server.url}?service=main")
    assert not isinstance(refused.value, StoreUnavailable)


async def test_what_may_pass_is_told_from_what_is_to_be_mended() -> None:
    """A service manager starts a server again that has found no Redis, and none whose settings are wrong."""
    with pytest.raises(StoreUnavailable):
        await RedisConnections.open(f"redis://127.0.0.1:{free_port()}")
    async with refusing_server() as server:
        server.info = HEALTHY.replace(b"noeviction", b"allkeys-lru")
        with pytest.raises(ConfigError) as refused:
            await RedisConnections.open(server.url)
        assert not isinstance(refused.value, StoreUnavailable)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("-ERR unknown command `HELLO`, with args beginning with: `2`", "use Redis 7 or newer"),
        ("-DENIED Redis is running in protected mode because", "set a password there"),
        ("HTTP/1.1 400 Bad Request", "as what is no Redis does"),
    ],
)
async def test_what_refuses_everybody_is_told_apart(answer: str, told: str) -> None:
    """An old server, one in protected mode, and what is no Redis at all."""
    async with refusing_server() as server:
        server.greeting = answer
        with pytest.raises(ConfigError, match=told):
            await RedisConnections.open(server.url)


async def test_a_store_that_can_not_be_written_says_why() -> None:
    """Whether calls of scripts or of the client find it."""
    with redis_server("--min-replicas-to-write", "1") as server, pytest.raises(StoreUnavailable, match="NOREPLICAS"):
        await RedisStore(server.url).open()


# --- passwords, rights and TLS ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tls_port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates")
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(folder / "server.pem"))
    return folder


@pytest.fixture(scope="module")
def guarded(certificates: Path, tls_port: int) -> Generator[RedisServer]:
    """A server with a password, on a Unix socket and a port with TLS."""
    pem = str(certificates / "server.pem")
    tls = ["--tls-port", str(tls_port), "--tls-cert-file", pem, "--tls-key-file", pem]
    trust = ["--tls-ca-cert-file", str(certificates / "ca.pem"), "--tls-auth-clients", "no"]
    with redis_server("--requirepass", PASSWORD, *tls, *trust) as server:
        yield server


@pytest.mark.parametrize("login", ["", ":wr0ng-word@", "nobody:wr0ng-word@"])
async def test_a_wrong_password_is_reported_but_not_repeated(guarded: RedisServer, login: str) -> None:
    """Nor the right one, nor what the server says."""
    with pytest.raises(ConfigError) as refused:
        await RedisConnections.open(guarded.url.replace("unix://", f"unix://{login}"))

    kind = "WRONGPASS: the user or the password is wrong" if login else "NOAUTH: it asks for a password"
    assert f"{guarded.path} refuses: Redis: {kind}" in str(refused.value)
    assert "wr0ng-word" not in str(refused.value)


async def test_all_connections_log_in_over_tls(guarded: RedisServer, certificates: Path, tls_port: int) -> None:
    """Calls, subscriptions and the client; a server with another certificate is refused."""
    url = f"rediss://:{ENCODED}@127.0.0.1:{tls_port}/2"
    heard = Heard()
    async with (
        opened(f"{url}?ssl_ca_certs={certificates / 'ca.pem'}") as connections,
        heard.following(connections) as subscriptions,
    ):
        await subscriptions.subscribe(channel_of("a"))
        assert await connections.run_all([add("a"), publish("a", "x")]) == [1, 1]
        assert await connections.client.get("askbot:{a}:n") == b"2"
        assert await heard.messages.get() == (channel_of("a"), b"x")
    async with opened(guarded.url.replace("unix://", f"unix://:{ENCODED}@") + "?db=2") as connections:
        assert await connections.run(add("a")) == 3

    with pytest.raises(ConfigError, match=r"can't be reached: .*certificate") as refused:
        await RedisConnections.open(url)
    assert ENCODED not in str(refused.value)
    assert not isinstance(refused.value.__context__, ssl.SSLError) or refused.value.__suppress_context__


async def test_a_login_that_is_not_needed_or_has_no_password(redis: RedisServer) -> None:
    """The first is accepted by calls and by the client; the second is refused at the start."""
    async with opened(redis.url.replace("unix://", "unix://:w0rd@")) as connections:
        assert await connections.client.get("askbot:none") is None
    with pytest.raises(ConfigError, match="WRONGPASS"):
        await RedisConnections.open(redis.url.replace("unix://", "unix://bob@"))


def test_a_key_that_is_encrypted_is_refused(tmp_path: Path) -> None:
    """Nobody is there to type its password."""
    certificate = trustme.CA().issue_cert("client")
    key = load_pem_private_key(certificate.private_key_pem.bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    (tmp_path / "key.pem").write_bytes(encrypted)
    certificate.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))

    with pytest.raises(ConfigError, match="encrypted"):
        parse_redis_url(f"rediss://host?ssl_certfile={tmp_path / 'chain.pem'}&ssl_keyfile={tmp_path / 'key.pem'}")


@pytest.mark.parametrize(
    "rights", ["~other:* &askbot:* +@all", "~askbot:* resetchannels +@all", "~askbot:* &askbot:* +@all -@write"]
)
async def test_rights_that_are_missing_are_found_at_the_start(guarded: RedisServer, rights: str) -> None:
    """Not at the first question."""
    with guarded.connect() as connection:
        words = (
            ("AUTH", PASSWORD),
            ("ACL", "SETUSER", "few", "reset", "on", ">word", "+hello", "+info", *rights.split()),
        )
        for line in words:
            connection.sendall(pack_command(line))
            connection.recv(100)

    with pytest.raises(ConfigError, match="NOPERM"):
        await RedisConnections.open(guarded.url.replace("unix://", "unix://few:word@"))
