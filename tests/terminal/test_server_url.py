"""Server URL: what names a server, and what of it nobody may see."""

from __future__ import annotations

import pytest

from askbot_ws.terminal.server_url import complete_url, earlier_names, hide_credentials, server_name


@pytest.mark.parametrize(
    "url",
    [
        "ws://a.example",
        "ws://a.example/",
        "http://A.Example:80/v1/chat",
        "WS://me:secret@a.example/v1/chat/?ticket=secret#token=secret",
    ],
)
def test_urls_of_one_server_have_one_name(url: str) -> None:
    """Whatever stands in them beside scheme, host, port and path."""
    assert server_name(url) == "ws://a.example/v1/chat"


def test_servers_differ_by_scheme_host_port_and_path() -> None:
    """An IPv6 address keeps its brackets."""
    names = [
        server_name(url)
        for url in (
            "ws://a",
            "wss://a",
            "ws://b",
            "ws://a:443",
            "ws://a/one/v1/chat",
            "ws://a/two/v1/chat",
            "wss://[::1]:443/x/",
        )
    ]
    assert len({*names}) == len(names)
    assert names[-1] == "wss://[::1]/x"


@pytest.mark.parametrize(
    "url", ["", "a.example", "ftp://a", "ws://", "ws:///v1/chat", "ws://a:99999", "ws://me:secret"]
)
def test_what_can_be_no_server_has_no_name(url: str) -> None:
    """A password where the port should be, too."""
    with pytest.raises(ValueError, match=r".") as raised:
        server_name(url)
    assert "//" not in str(raised.value) or "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("localhost:8765", "ws://localhost:8765"),
        ("localhost:8765/", "ws://localhost:8765"),
        ("localhost:99/team/v1/chat/", "ws://localhost:99/team/v1/chat"),
        ("localhost", "ws://localhost:8765"),
        ("localhost:", "ws://localhost:8765"),
        ("//localhost:99", "ws://localhost:99"),
        (":99", "ws://127.0.0.1:99"),
        (" example.org ", "ws://example.org:8765"),
        ("me:pass@example.org", "ws://me:pass@example.org:8765"),
        ("::1", "ws://[::1]:8765"),
        ("[::1]", "ws://[::1]:8765"),
        ("[::1]:99", "ws://[::1]:99"),
        ("http://[::1]:99/", "ws://[::1]:99"),
        ("https://example.org/", "wss://example.org"),
        ("HTTPS://example.org?ticket=1", "wss://example.org?ticket=1"),
        ("ws://example.org", "ws://example.org"),
    ],
)
def test_what_is_left_out_of_a_url_is_as_the_server_has_it(written: str, url: str) -> None:
    """`askbot ask --url localhost:8765`."""
    assert complete_url(written) == url


@pytest.mark.parametrize(
    ("written", "fault"),
    [
        ("ftp://secret", "scheme"),
        ("ws:secret", "scheme"),
        ("http:/secret:8765", "scheme"),
        ("localhost:secret", "port"),
        ("localhost:0", "port"),
        ("ws://me:99999", "port"),
        ("ws://", "host"),
        ("", "host"),
        ("a secret", "host"),
        ("ws://[secret]", "brackets"),
        ("[::1", "brackets"),
    ],
)
def test_what_is_no_url_of_a_server_is_told_by_its_part(written: str, fault: str) -> None:
    """Nothing of it is repeated, as it may have a password."""
    with pytest.raises(ValueError, match=fault) as raised:
        complete_url(written)
    assert "secret" not in str(raised.value)


def test_earlier_versions_knew_host_and_port_only() -> None:
    """So their names are those of the default path alone."""
    assert earlier_names("wss://a.example/") == {"a.example:None", "a.example:443"}
    assert earlier_names("ws://a.example:99/v1/chat") == {"a.example:99"}
    assert earlier_names("ws://a.example:99/team/v1/chat") == set()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("no answer from wss://me:secret@a/x?ticket=secret: it failed", "no answer from wss://a/x: it failed"),
        ("'ws://a/#token=secret' and (http://s@b?secret).", "'ws://a/' and (http://b)."),
        ("ws://me:se/cr@et@a", "ws://a"),
        ("see me@example.org: why? #1", "see me@example.org: why? #1"),
    ],
)
def test_credentials_are_hidden_in_any_text(text: str, shown: str) -> None:
    """What is no URL stays as it is."""
    assert hide_credentials(text) == shown
