"""Authentication by a function of one's own."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from askbot_ws.auth import Authenticator, RequestHead, function
from askbot_ws.auth.authenticator import AuthMethods
from askbot_ws.auth.function import FunctionAuthentication, import_function
from askbot_ws.errors import AskbotError, ConfigError, Overloaded, Unauthorized
from askbot_ws.testing import serving

from ..http.raw_requests import request


@pytest.fixture
def authenticator(monkeypatch: pytest.MonkeyPatch) -> Authenticator:
    monkeypatch.setattr(function, "TIMEOUT_SECONDS", 0.1)
    return Authenticator(
        AuthMethods(function=FunctionAuthentication(import_function("tests.auth.functions:by_header")))
    )


def head(name: str) -> RequestHead:
    return RequestHead.of("/v1/chat", [("X-User", name)], "127.0.0.1")


async def test_it_returns_a_principal_or_the_name_of_a_user(authenticator: Authenticator) -> None:
    """Rights that there are not are left out; its principal has a credential."""
    alice, admin = [await authenticator.authenticate(head(name)) for name in ("alice", "admin")]

    assert (alice.user, alice.rights, alice.credential) == ("alice", frozenset(), "function:alice")
    assert (admin.user, admin.rights) == ("admin", frozenset({"admin"}))
    assert admin.expires is not None
    assert admin.expires < 1e12, "the end of what a date can say"


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("", Unauthorized),
        ("refuses", Unauthorized),
        ("expired", Unauthorized),
        ("fails", Overloaded),
        ("exits", Overloaded),
        ("hangs", Overloaded),
        ("number", Overloaded),
        ("nobody", Overloaded),
        ("a\nb", Overloaded),
    ],
)
async def test_it_refuses_and_fails_honestly(authenticator: Authenticator, name: str, error: type[AskbotError]) -> None:
    """A fault of ours is not the client's, who may come again; the log has where, and nothing of the credential."""
    with capture_logs() as logs, pytest.raises(error):
        await authenticator.authenticate(head(name))

    failed = [line for line in logs if line["event"] == "authentication_function_failed"]
    assert bool(failed) == (error is Overloaded)
    assert "a-credential-that-is-secret" not in str(logs)
    if name == "fails":
        assert (failed[0]["reason"], failed[0]["place"].partition(":")[0]) == ("KeyError", "functions.py")


async def test_it_sees_the_token_of_an_auth_frame(authenticator: Authenticator) -> None:
    """As that of the header `Authorization`."""
    assert (await authenticator.authenticate_token("custom-bob")).user == "bob"


async def test_identity_does_not_take_a_failure_for_nobody() -> None:
    """503, so that a page asks again; a credential that is refused is nobody's."""
    async with serving(auth="tests.auth.functions:by_header") as server:
        failed, refused = [await request(server.port, "/v1/identity", x_user=name) for name in ("fails", "refuses")]

    assert (failed.status, failed.json["code"]) == (503, "overloaded")
    assert (refused.status, refused.json["user"]) == (200, None)


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("tests.auth.functions:not_async", "not an async function"),
        ("tests.auth.functions:nothing", "cannot be imported"),
        ("tests.auth.no_such_module:f", "cannot be imported"),
        ("tests.auth.exits_at_import:f", "cannot be imported"),
    ],
)
def test_a_function_that_cannot_be_used_is_told_at_the_start(path: str, fault: str) -> None:
    """With the setting."""
    with pytest.raises(ConfigError, match=f"^ASKBOT_AUTH: .*{fault}"):
        import_function(path)
