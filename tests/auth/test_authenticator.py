"""Whom a server without authentication trusts, and where credentials are looked for."""

from __future__ import annotations

import pytest

from askbot_ws.auth import Authenticator, RequestHead
from askbot_ws.auth.authenticator import LOCAL
from askbot_ws.auth.credentials import find_credential
from askbot_ws.config import load, merge
from askbot_ws.core.principal import ANONYMOUS
from askbot_ws.errors import ConfigError

from .clients import SECRET


def head(*headers: tuple[str, str], address: str = "127.0.0.1", query: str = "") -> RequestHead:
    return RequestHead.of(f"/v1/chat?{query}", headers, address)


@pytest.mark.parametrize(
    ("request_head", "loopback", "local"),
    [
        (head(), True, True),
        (head(address="::1"), True, True),
        (head(), False, False),
        (head(address="192.0.2.1"), True, False),
        (head(address=""), True, False),
        (head(("X-Forwarded-For", "192.0.2.1")), True, False),
        (head(("Forwarded", "for=192.0.2.1")), True, False),
        (head(("X-Real-IP", "192.0.2.1")), True, False),
        (head(("Via", "1.1 proxy")), True, False),
    ],
)
async def test_only_this_machine_has_all_rights_without_authentication(
    request_head: RequestHead, *, loopback: bool, local: bool
) -> None:
    """Not whoever comes through a proxy on it."""
    principal = await Authenticator(loopback=loopback).authenticate(request_head)

    assert principal is (LOCAL if local else ANONYMOUS)


def test_a_head_shows_no_credential() -> None:
    """Where a program logs it."""
    shown = repr(head(("Authorization", "Bearer secret"), query="ticket=secret"))

    assert "secret" not in shown
    assert "secret" not in repr(find_credential(head(("Authorization", "Bearer secret")), cookie=None))


def test_a_head_is_read_by_names() -> None:
    """In any case; several headers are one, of several parameters the last counts, of cookies the first."""
    several = head(("Accept", "a"), ("ACCEPT", "b"), ("Cookie", 's=1; s="2"; t=x=y'), query="t=1&t=2&empty=")

    assert several.header("accept") == "a, b"
    assert (several.cookie("s"), several.cookie("t"), several.cookie("u")) == ("1", "x=y", None)
    assert (several.parameter("t"), several.parameter("empty"), several.parameter("u")) == ("2", "", None)


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"host": "0.0.0.0"}, "ASKBOT_HOST: .*Set up authentication: ASKBOT_KEYS"),
        ({"auth_cookie": "s", "origins": "*"}, "ASKBOT_AUTH_COOKIE: .*any page"),
        ({"jwt_algorithms": "HS256"}, "needs ASKBOT_JWT_SECRET"),
        ({"jwt_algorithms": "RS256", "jwt_secret": SECRET}, "needs ASKBOT_JWKS_URL"),
        ({"jwt_algorithms": "none", "jwt_secret": SECRET}, "it should be HS256, "),
        ({"jwt_secret": "short"}, "at least 32 bytes"),
        ({"jwt_secret": "x" * 40, "jwt_algorithms": "HS512"}, "at least 64 bytes"),
        ({"jwt_secret": "-----BEGIN PUBLIC KEY-----\n" + "x" * 40}, "not a key of a pair"),
        ({"ticket_secret": "short"}, "at least 32 characters"),
        ({"jwks_url": "file:///etc/passwd"}, "it should be a URL"),
        ({"sign_in_url": "javascript:alert(1)"}, "it should be a URL"),
        ({"auth": "module"}, "package.module:function"),
    ],
    ids=str,
)
def test_settings_that_let_others_in_are_refused(given: dict[str, str], fault: str) -> None:
    """At the start, with what to set; a secret is not repeated."""
    with pytest.raises(ConfigError, match=f"(?s){fault}") as told:
        load({}, {f"ASKBOT_{name.upper()}": value for name, value in given.items()})

    assert SECRET not in str(told.value)
    assert "x" * 40 not in str(told.value)


def test_authentication_opens_other_addresses() -> None:
    """Each way by itself."""
    for name, value in (("KEYS", "k"), ("JWT_SECRET", SECRET), ("JWKS_URL", "https://a.example/k"), ("AUTH", "a:b")):
        assert load({}, {"ASKBOT_HOST": "0.0.0.0", f"ASKBOT_{name}": value}).authentication


@pytest.mark.parametrize(
    ("running", "new", "fault"),
    [
        ({"HOST": "0.0.0.0", "JWT_SECRET": SECRET}, {}, "ASKBOT_HOST: "),
        ({"AUTH_COOKIE": "s", "JWT_SECRET": SECRET}, {"ORIGINS": "*", "JWT_SECRET": SECRET}, "ASKBOT_AUTH_COOKIE: "),
    ],
    ids=str,
)
def test_a_running_server_takes_no_settings_that_let_others_in(
    running: dict[str, str], new: dict[str, str], fault: str
) -> None:
    """Each is right by itself, but where the server listens, and what its cookie is, changes at its restart only."""
    before, after = [load({}, {f"ASKBOT_{name}": value for name, value in given.items()}) for given in (running, new)]
    with pytest.raises(ConfigError, match=f"until the server is restarted, {fault}"):
        merge(before, after)
    assert merge(after, before).authentication
