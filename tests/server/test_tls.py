"""TLS: certificates that can't be used are told at the start, and new ones are used without a restart."""

from __future__ import annotations

import asyncio
import json
import signal
import ssl
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from askbot_ws.config import load
from askbot_ws.errors import ConfigError
from askbot_ws.server.tls import EXPIRES_SOON, TlsFiles
from askbot_ws.testing import ScriptedUpstream, serving

from ..certificates import trusting
from ..http.raw_requests import closed, lines, response_of
from ..process import command, environment, reading

NOW = datetime.now(UTC)
AUTHORITY = trustme.CA()


class Files:
    """A certificate and its key, as an operator has them."""

    def __init__(self, folder: Path) -> None:
        self.certfile = folder / "chain.pem"
        self.keyfile = folder / "key.pem"
        self.write()

    def write(self, *, name: str = "127.0.0.1", expires: datetime | None = None) -> None:
        """Write a new pair."""
        made = AUTHORITY.issue_cert(name, not_before=NOW - timedelta(days=90), not_after=expires)
        self.keyfile.write_bytes(made.private_key_pem.bytes())
        self.certfile.write_bytes(b"".join(part.bytes() for part in made.cert_chain_pems))

    def load(self) -> TlsFiles:
        return TlsFiles(self.certfile, self.keyfile)


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """A pair that is valid for a long time."""
    return Files(tmp_path)


@pytest.fixture
def logged() -> Iterator[list[str]]:
    """The names of what is logged."""
    lines = list[str]()
    with structlog.testing.capture_logs(processors=[lambda _, __, line: lines.append(line["event"]) or line]):  # type: ignore[func-returns-value]
        yield lines


# --- the files -------------------------------------------------------------------------------------------------------


def test_a_certificate_says_until_when_and_for_whom(files: Files, logged: list[str]) -> None:
    """As `askbot check` tells it; nothing is warned of."""
    expires = (NOW + timedelta(days=60)).replace(microsecond=0)
    files.write(name="chat.example", expires=expires)
    certificate = files.load().certificate
    assert (certificate.expires, certificate.names, certificate.fault) == (expires, ("chat.example",), None)
    assert logged == []


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("certfile", b"", "ASKBOT_CERTFILE: .*chain.pem has no CERTIFICATE in PEM"),
        ("certfile", b"\x30\x82\x01\x00", "openssl x509 -inform der"),
        ("keyfile", b"secret-words", "ASKBOT_KEYFILE: .*key.pem has no PRIVATE KEY in PEM"),
        ("certfile", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "is damaged"),
        ("keyfile", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "is damaged"),
    ],
)
def test_what_is_no_certificate_is_told_with_its_setting(files: Files, file: str, content: bytes, told: str) -> None:
    """Before anything listens; never with what the file has."""
    getattr(files, file).write_bytes(content)
    with pytest.raises(ConfigError, match=told) as error:
        files.load()
    assert "secret-words" not in str(error.value)


def test_a_key_of_another_certificate_is_told(files: Files, tmp_path: Path) -> None:
    """As where one of two files was replaced."""
    (tmp_path / "other").mkdir()
    other = Files(tmp_path / "other")
    with pytest.raises(ConfigError, match=r"the key in .*other/key.pem .* is not that of .*chain.pem"):
        TlsFiles(files.certfile, other.keyfile)


def test_an_encrypted_key_is_told_and_nobody_is_asked(files: Files) -> None:
    """OpenSSL would ask for the password on the terminal, for ever."""
    key = load_pem_private_key(files.keyfile.read_bytes(), None)
    encrypted = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"password"))
    files.keyfile.write_bytes(encrypted)
    with pytest.raises(ConfigError, match=r"the key is encrypted.*openssl pkey"):
        files.load()


def test_a_file_that_may_not_be_read_is_told(files: Files) -> None:
    """A folder stands for it: root may read everything."""
    files.keyfile.unlink()
    files.keyfile.mkdir()
    with pytest.raises(ConfigError, match=r"ASKBOT_KEYFILE: .*key.pem can't be read"):
        files.load()


@pytest.mark.parametrize(
    ("left", "told"),
    [(-timedelta(days=1), "certificate_not_accepted"), (EXPIRES_SOON - timedelta(hours=1), "certificate_not_renewed")],
)
def test_a_certificate_that_has_expired_or_will_is_warned_of(
    files: Files, logged: list[str], left: timedelta, told: str
) -> None:
    """It is served all the same: whoever has to come in can."""
    files.write(expires=NOW + left)
    certificate = files.load().certificate
    assert logged == [told]
    assert (certificate.fault == "has expired") == (left < timedelta(0))


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"certfile": "chain.pem"}, "ASKBOT_KEYFILE"),
        ({"keyfile": "key.pem"}, "ASKBOT_CERTFILE"),
        ({"certfile": "none.pem", "keyfile": "key.pem"}, "certfile.*there is no such file"),
        ({"certfile": "chain.pem", "keyfile": "key.pem", "unix": "a.sock"}, "no TLS"),
    ],
)
def test_a_certificate_is_set_with_its_key(files: Files, given: dict[str, str], told: str) -> None:
    """Both or neither, and for TCP."""
    with pytest.raises(ConfigError, match=told) as error:
        load(given, {}, files.certfile.parent)
    assert len(str(error.value).splitlines()) == 2


# --- a server --------------------------------------------------------------------------------------------------------


async def names_of(port: int) -> set[str]:
    """The names of the certificate that a new connection is shown."""
    context = trusting(AUTHORITY)
    context.check_hostname = False
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    certificate = writer.get_extra_info("peercert")
    await closed(writer)
    return {name for _, name in certificate["subjectAltName"]}


async def shown(port: int, name: str) -> None:
    """Wait until new connections are shown the certificate of this name."""
    async with asyncio.timeout(20):
        while await names_of(port) != {name}:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_new_certificate_is_used_for_new_connections_and_old_ones_stay(files: Files, logged: list[str]) -> None:
    """An answer goes on through it; files that can't be used change nothing."""
    upstream = ScriptedUpstream(["One ", "two."])
    async with serving(upstream, certfile=str(files.certfile), keyfile=str(files.keyfile)) as server:
        assert server.url == f"wss://127.0.0.1:{server.port}/v1/chat"
        assert await names_of(server.port) == {"127.0.0.1"}
        async with reading(server.url, ssl=trusting(AUTHORITY)) as reader:
            files.write(name="new.example")
            assert server.reload_certificate()
            assert await names_of(server.port) == {"new.example"}

            files.keyfile.write_text("no key")
            assert not server.reload_certificate()
            files.certfile.unlink()
            assert not server.reload_certificate()
            assert await names_of(server.port) == {"new.example"}

            assert (await reader.answer("Well?")).answer == "One two."
    assert logged.count("certificate_reloaded") == 1
    assert logged.count("certificate_not_reloaded") == 2


async def test_old_versions_of_tls_and_plain_http_are_refused(files: Files) -> None:
    """TLS 1.2 and 1.3 are spoken, and HTTP/1.1 is what is agreed on."""
    async with serving(certfile=str(files.certfile), keyfile=str(files.keyfile)) as server:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            context = trusting(AUTHORITY)
            context.minimum_version = context.maximum_version = version
            context.set_alpn_protocols(["h2", "http/1.1"])
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == "http/1.1"
            writer.write(lines("GET", "/healthz", "Host: localhost", "Connection: close"))
            assert (await response_of(reader)).status == 200
            await closed(writer)
        old = trusting(AUTHORITY)
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        old.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await asyncio.open_connection("127.0.0.1", server.port, ssl=old)
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(lines("GET", "/healthz", "Host: localhost"))
        assert not (await reader.read()).startswith(b"HTTP")
        await closed(writer)


async def test_pages_over_http_of_the_same_name_are_foreign_to_a_server_with_tls(files: Files) -> None:
    """Whoever is between could have written them."""
    async with serving(certfile=str(files.certfile), keyfile=str(files.keyfile), hosts="chat.example") as server:
        for origin, status in (("https://chat.example", 200), ("http://chat.example", 403)):
            reader, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=trusting(AUTHORITY))
            writer.write(lines("GET", "/", "Host: chat.example", f"Origin: {origin}"))
            assert (await response_of(reader)).status == status
            await closed(writer)


def test_askbot_serve_shows_a_new_certificate_after_sighup(files: Files) -> None:
    """It names its addresses by https: in what it prints; and it does not start where the certificate is unusable."""
    given = command("--store", "memory:", "--certfile", "chain.pem", "--keyfile", "key.pem")
    variables = environment(OPENAI_API_KEY="sk-1", ASKBOT_MODEL="a")
    folder = files.certfile.parent
    with subprocess.Popen(
        given, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=variables, text=True
    ) as process:
        try:
            assert process.stdout
            printed = [process.stdout.readline().split() for _ in range(3)]
            assert printed[1][1].startswith("https://127.0.0.1:")
            assert printed[2][1].startswith("wss://127.0.0.1:")
            port = int(printed[1][1].rstrip("/").rpartition(":")[2])
            assert asyncio.run(names_of(port)) == {"127.0.0.1"}
            files.write(name="new.example")
            process.send_signal(signal.SIGHUP)
            asyncio.run(shown(port, "new.example"))
            process.send_signal(signal.SIGTERM)
            log = [json.loads(line) for line in process.communicate(timeout=20)[1].splitlines()]
            assert next(line["tls"] for line in log if line["event"] == "server_started") is True
        finally:
            process.kill()
    files.keyfile.write_text("")
    ended = subprocess.run(given, capture_output=True, check=False, timeout=20, cwd=folder, env=variables, text=True)
    assert ended.returncode == 2
    assert "ASKBOT_KEYFILE" in ended.stderr
