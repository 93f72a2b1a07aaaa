"""The page's words, and who gets which."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import get_args

import pytest

from askbot_ws import errors
from askbot_ws.events import Reason
from askbot_ws.http.pages import BUNDLE, bundle_banner, has_bundle, preferred_language, render_page_by_language
from askbot_ws.testing import serving

from .raw_requests import request

CLIENT = Path(__file__).parents[2] / "client"
WORDS: dict[str, dict[str, str]] = json.loads((CLIENT / "page" / "strings.json").read_text(encoding="utf-8"))


def test_every_language_has_all_words() -> None:
    """With the same gaps to fill, and nothing empty."""
    gaps = {
        language: {name: sorted(re.findall(r"\{\w+\}", text)) for name, text in words.items()}
        for language, words in WORDS.items()
    }
    assert sorted(WORDS) == ["en", "ko"]
    assert gaps["ko"] == gaps["en"]
    assert all(text.strip() for words in WORDS.values() for text in words.values())


def test_words_that_are_said_are_there_and_all_are_said() -> None:
    """By their names in the page and its scripts; those that are made of a code, by what they begin with."""
    modules = {*(CLIENT / "page").glob("*.js")} - {CLIENT / BUNDLE}
    files = [CLIENT / "index.html", CLIENT / "thinking.js", *modules]
    source = "".join(path.read_text(encoding="utf-8") for path in files)
    said = set(re.findall(r"\{\{(\w+)\}\}", source)) - {"lang", "strings", "page_module"}
    named = set(re.findall(r'"(\w+)"', source))
    made = tuple(re.findall(r"`(\w+_)\$\{", source))
    assert said <= set(WORDS["en"])
    assert set(re.findall(r'\btranslate\("(\w+)"', source)) <= set(WORDS["en"])
    assert made
    assert [
        name
        for name in WORDS["en"]
        if name not in said | named and not name.startswith(made) and not name.endswith("_per_second")
    ] == []


def test_all_reasons_states_and_errors_have_words() -> None:
    """Reasons and codes that a reader of the page may be shown: all but the faults of a client's own frames."""
    codes = {
        value.code
        for value in vars(errors).values()
        if isinstance(value, type)
        and issubclass(value, errors.AskbotError)
        and not issubclass(value, errors.FrameError)
    }
    assert {f"reason_{reason}" for reason in get_args(Reason)} - {"reason_stop"} <= set(WORDS["en"])
    assert {f"error_{code}" for code in codes} <= set(WORDS["en"])
    assert {f"state_{state}" for state in ("connecting", "open", "waiting", "closed")} <= set(WORDS["en"])


@pytest.mark.parametrize(
    ("accepted", "language"),
    [
        ("", "en"), ("ko", "ko"), ("KO-kr", "ko"), ("en-US,en;q=0.9,ko;q=0.8", "en"), ("fr-FR, ko;q=0.2", "ko"),
        ("en;q=0.4, ko ; q=0.5", "ko"), ("ko;q=0", "en"), ("ko;q=0,en;q=0", "en"), ("*", "en"),
        ("ko-Kore-KR;q=1.000", "ko"), ("en;q=0.1,ko;q=0.9,en;q=1", "en"), ("kok", "en"), ("de, fr", "en"),
        ("ko;q=2", "en"), ("ko;;q", "en"), (",,;=", "en"),
    ],
)  # fmt: skip
def test_the_language_is_the_one_that_is_liked_best(accepted: str, language: str) -> None:
    """By the weights of Accept-Language; who likes none of ours, or says so in no way we know, gets the first."""
    assert preferred_language(accepted, ("en", "ko")) == language


async def test_the_page_is_served_in_the_readers_language() -> None:
    """A cache keeps the languages apart, and what is known of one is not known of the other."""
    async with serving() as server:
        english = await request(server.port, "/")
        korean = await request(server.port, "/", Accept_Language="ko-KR,ko;q=0.9,en;q=0.8")
        again = await request(server.port, "/", Accept_Language="ko", If_None_Match=korean.headers["etag"])
        other = await request(server.port, "/", Accept_Language="en", If_None_Match=korean.headers["etag"])

    for response, language in ((english, "en"), (korean, "ko")):
        assert response.headers["vary"] == "Accept-Language"
        assert response.headers["content-language"] == language
        assert f'<html lang="{language}">' in response.body.decode()
    assert (again.status, again.headers["vary"]) == (304, "Accept-Language")
    assert (other.status, other.body) == (200, english.body)


def test_a_word_ends_neither_its_element_nor_the_script(tmp_path: Path) -> None:
    """Whoever translates may write what they like."""
    hostile = '</script><img src=x onerror="y"> & {{title}}'
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "strings.json").write_text(json.dumps({"en": {"title": hostile}}))
    (tmp_path / "index.html").write_text('<p lang="{{lang}}" title="{{title}}"></p><script>{{strings}}</script>')
    page = render_page_by_language(tmp_path)["en"].decode()

    shown, script = page.split("<script>")
    assert shown == ('<p lang="en" title="&lt;/script&gt;&lt;img src=x onerror=&quot;y&quot;&gt; &amp; {{title}}"></p>')
    assert json.loads(script.removesuffix("</script>")) == {"title": hostile}
    assert script.count("<") == 1


@pytest.mark.parametrize(
    "changed",
    [
        {"askbot.js": b"2"},
        {"page/page.js": b"2"},
        {"page/new.js": b""},
        {"askbot.js": b"1page/page.js", "page/page.js": b""},
    ],
)
def test_a_bundle_is_of_its_modules_only(changed: dict[str, bytes]) -> None:
    """In a checkout, somebody changes one, adds one or moves text to another; what is no module does not matter."""
    modules = {"askbot.js": b"1", "page/page.js": b"1", "page/page.css": b""}
    bundled = modules | {BUNDLE: bundle_banner(modules) + b"\nmade"}
    assert has_bundle(bundled | {"page/page.css": b"changed"})
    assert not has_bundle(modules)
    assert not has_bundle(bundled | changed)


def test_the_page_loads_the_bundle_in_place_of_its_modules() -> None:
    """And first what keeps a text that is typed meanwhile; the site's own module is no part of it."""
    (page, _), (bundled, _) = (
        render_page_by_language(CLIENT, has_module=True, is_bundled=is_bundled).values() for is_bundled in (False, True)
    )
    loaded = [
        re.findall(r'(?:rel="modulepreload"|type="module").*?="([^"]+)"', text.decode()) for text in (page, bundled)
    ]
    assert len(loaded[0]) > 40
    assert loaded[0][-3:] == ["page-module.js", "page/early-text.js", "page/page.js"]
    assert loaded[1] == ["page-module.js", "page/early-text.js", BUNDLE]
