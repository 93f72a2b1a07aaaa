"""ApiConfig, held to what the openai package reads from the same arguments and environment."""

from __future__ import annotations

import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st

from askbot_ws.errors import ConfigError
from askbot_ws.upstream.api_config import OPENAI_BASE_URL, ApiConfig, is_openai

VARIABLES = ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_CUSTOM_HEADERS")
URLS = (
    "http://127.0.0.1:11434/v1",
    "https://api.example.com",
    "https://api.example.com/v1/",
    "https://x.openai.azure.com/openai/deployments/gpt-4?api-version=2024-10-21",
    "http://[::1]:8080/v1",
    "http://münchen.example/v1",
    "http://host/a b/ü",
    "http://host/%7Eme/v1",
)
CUSTOM = ("X-One: 1", "X-Two:2:3", "authorization: Basic eA==", "no header", "OpenAI-Project: p", "")
words = st.text(st.characters(codec="ascii", exclude_characters="\0\r\n"), min_size=1, max_size=8)


def of_package(environ: dict[str, str], headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The address and the headers that the package would use, without its telemetry."""
    with pytest.MonkeyPatch.context() as patch:
        for name in VARIABLES:
            patch.delenv(name, raising=False)
        for name, value in environ.items():
            patch.setenv(name, value)
        client = openai.AsyncOpenAI(default_headers=headers)
    sent = {name.lower(): value for name, value in {**client.auth_headers, **client.default_headers}.items()}
    url = str(client.base_url)
    return url, {
        name: value
        for name, value in sent.items()
        if isinstance(value, str) and not name.startswith("x-stainless-") and name not in ("content-type", "user-agent")
    }


def without_slash(url: str) -> str:
    """An address without the slash at its path's end, which a path is appended to."""
    path, separator, query = url.partition("?")
    return path.rstrip("/") + separator + query


@pytest.mark.parametrize("url", URLS)
def test_an_address_is_what_the_package_makes_of_it(url: str) -> None:
    """Names and paths beyond ASCII, ports, queries."""
    ours = ApiConfig.read(base_url=url, api_key="k", headers={}, environ={})
    theirs, _ = of_package({"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k"}, {})
    assert without_slash(ours.base_url) == without_slash(theirs)


@given(
    environ=st.fixed_dictionaries(
        {"OPENAI_API_KEY": words},
        optional={
            "OPENAI_BASE_URL": st.sampled_from(URLS[:3]),
            "OPENAI_ORG_ID": words,
            "OPENAI_PROJECT_ID": words,
            "OPENAI_CUSTOM_HEADERS": st.lists(
                st.sampled_from(
                    ["X-One: 1", "X-Two:2:3", "authorization: Basic eA==", "no header", "OpenAI-Project: p", ""]
                )
            ).map("\n".join),
        },
    ),
    headers=st.dictionaries(st.sampled_from(["X-One", "x-three", "Authorization"]), words, max_size=2),
)
def test_the_environment_gives_the_headers_that_the_package_sends(
    environ: dict[str, str], headers: dict[str, str]
) -> None:
    """A key, an organisation, a project, headers of one's own: whoever knows the package knows this."""
    ours = ApiConfig.read(base_url=None, api_key=None, headers=headers, environ=environ)
    url, sent = of_package(environ, headers)
    found = dict(ours.headers)
    assert found.pop("user-agent").startswith("askbot-ws/")
    assert (without_slash(ours.base_url), found) == (without_slash(url), sent)


def test_without_anything_it_is_openai_and_needs_a_key() -> None:
    """Servers of one's own mostly want none."""
    assert ApiConfig.read(base_url=None, api_key="k", headers={}, environ={}).base_url == OPENAI_BASE_URL
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        ApiConfig.read(base_url=None, api_key=None, headers={}, environ={})
    local = ApiConfig.read(base_url="http://localhost:1/v1", api_key=None, headers={}, environ={})
    assert local.api_key == ""
    assert "authorization" not in local.headers


@pytest.mark.parametrize(
    "url",
    [
        "localhost:1",
        "ftp://host/v1",
        "http://",
        "http:///v1",
        "http://host:port/v1",
        "http://host:99999",
        "http://a\nb/",
    ],
)
def test_what_is_no_address_is_said_with_the_setting(url: str) -> None:
    """Before anything is asked."""
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        ApiConfig.read(base_url=url, api_key="k", headers={}, environ={})


def test_openai_is_known_by_its_host() -> None:
    """Its regions too, and nobody who is only called alike."""
    assert is_openai("https://api.openai.com/v1")
    assert is_openai("https://eu.api.openai.com/v1")
    assert not is_openai("https://api.openai.com.example.org/v1")
    assert not is_openai("https://x.openai.azure.com/openai")
