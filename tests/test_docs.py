"""docs/: a site whose pages are all in its menu, whose links lead somewhere, and that loads nothing from elsewhere.

What single pages say is tested beside what they are about: tests/test_protocol.py, tests/test_errors.py and so on.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

from askbot_ws.config import FIELD_OF_VARIABLE, OTHER_VARIABLES, Settings
from askbot_ws.server.web_socket_connections import MIN_CLOSES_PER_SECOND
from askbot_ws.upstream.choose import DEFAULT_CONTEXT_TOKENS, DEFAULT_PERSONA
from askbot_ws.upstream.embedded_model import SMOLLM2, SYSTEM_PROMPT
from askbot_ws.upstream.openai import DEFAULT_MODEL

from .process import ROOT, environment

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
LOADING = {"script": "src", "img": "src", "iframe": "src", "link": "href", "source": "src", "video": "src"}
LOADED = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}


def build(folder: Path) -> subprocess.CompletedProcess[str]:
    """`make docs`, of the pages in a folder; the site is in its `site/`."""
    return subprocess.run(
        [sys.executable, "-m", "zensical", "build", "--strict", "--clean"],
        cwd=folder, env={**os.environ, "NO_COLOR": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip


def copied(to: Path) -> Path:
    """What the site is made of."""
    shutil.copytree(DOCS, to / "docs")
    shutil.copy(ROOT / "zensical.toml", to)
    return to


def menu() -> list[str]:
    """The pages that the menu names, in its order."""
    return re.findall(r'"([^"]+\.md)"', (ROOT / "zensical.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copied(tmp_path_factory.mktemp("pages"))
    built = build(folder)
    assert built.returncode == 0, built.stderr
    return folder / "site"


class Loads(HTMLParser):
    """What a page makes its reader's browser fetch."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag in LOADING and (tag != "link" or LOADED & set((given.get("rel") or "").split())):
            self.urls.append(given.get(LOADING[tag]) or "")


def test_the_defaults_are_those_of_the_code() -> None:
    """The personas word by word, the model, the context; what the help says of them too."""
    page = re.sub(r"\s+", " ", (DOCS / "settings.md").read_text("utf-8").replace("\n> ", "\n"))
    for persona in (DEFAULT_PERSONA, SYSTEM_PROMPT):
        assert re.sub(r"\s+", " ", persona) in page
    assert f"| an API | `{DEFAULT_MODEL}`;" in page

    described = {name: field.description or "" for name, field in Settings.model_fields.items()}
    assert DEFAULT_MODEL in described["model"]
    assert {str(DEFAULT_CONTEXT_TOKENS), str(SMOLLM2.context_tokens)} <= set(
        re.findall(r"\d+", described["context_tokens"])
    )
    assert str(SMOLLM2.max_tokens) in described["max_tokens"]


# --- the site --------------------------------------------------------------------------------------------------------


def test_every_page_is_in_the_site(site: Path) -> None:
    """And so is what machines read."""
    for page in PAGES:
        path = page.relative_to(DOCS).with_suffix("")
        assert (site / ("" if path.name == "index" else path) / "index.html").exists(), page
    assert (site / "asyncapi.json").exists()


def test_every_page_is_in_the_menu(site: Path) -> None:
    """Whoever begins at the start finds it."""
    start = (site / "index.html").read_text()
    for page in PAGES:
        path = page.relative_to(DOCS).with_suffix("")
        assert path.name == "index" or f'href="./{path}/" class="md-nav__link' in start, page


def test_no_page_is_in_the_menu_twice() -> None:
    """Nor one that does not exist; the builder takes both."""
    assert sorted(menu()) == [str(page.relative_to(DOCS)) for page in PAGES]


def test_the_pictures_exist() -> None:
    """The builder checks links only."""
    for page in PAGES:
        for picture in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", page.read_text("utf-8")):
            assert (page.parent / picture).is_file(), f"{picture} in {page.name}"


def test_nobody_else_learns_who_reads(site: Path) -> None:
    """No font, script, style or picture comes from another server."""
    pages = list(site.rglob("*.html"))
    urls = [url for page in pages for url in Loads(page.read_text()).urls]
    styles = [url for file in site.rglob("*.css") for url in re.findall(r"url\([\"']?([^)]*)\)", file.read_text())]

    assert len(pages) > 10
    assert len(urls) > 10
    assert [url for url in urls + styles if "//" in url and not url.startswith("data:")] == []


@pytest.mark.parametrize("link", ["[x](nowhere.md)", "[x](settings.md#nowhere)", "[x](/y.md)"])
def test_a_link_that_leads_nowhere_is_a_fault(tmp_path: Path, link: str) -> None:
    """To a page, to a place in a page, to a path of the server's."""
    with (copied(tmp_path) / "docs/concepts.md").open("a") as page:
        page.write(f"\n{link}\n")

    assert build(tmp_path).returncode != 0


# --- what the pages say ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_settings_that_a_page_names_exist(page: Path) -> None:
    """As they are spelled."""
    named = set(re.findall(r"\b(?:ASKBOT|OPENAI)_[A-Z_]+\b", page.read_text("utf-8")))
    assert named <= {*FIELD_OF_VARIABLE, *OTHER_VARIABLES}


def test_places_in_the_pages_beside_docs_exist() -> None:
    """Links into pages too, as the site's builder does not read these."""
    for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md"):
        text = (ROOT / name).read_text("utf-8")
        targets = [target for target in re.findall(r"\]\(([^)]+)\)", text) if "://" not in target]
        for target in targets:
            path, _, anchor = target.partition("#")
            page = ROOT / (path or name)
            assert page.exists(), target
            assert not anchor or anchor in anchors(page), target


def anchors(page: Path) -> set[str]:
    """The names of a page's headings, in links."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_tests_that_are_shown_pass_in_any_folder(tmp_path: Path) -> None:
    """docs/testing.md, as it stands, where settings of the folder and of the environment would be wrong."""
    text = (DOCS / "testing.md").read_text("utf-8")
    programs = re.findall(r"^```python\n# (\S+), for pytest\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    for name, program in programs:
        (tmp_path / name).write_text(program)
    (tmp_path / "askbot.toml").write_text("max_question = 1\nnonsense = 1\n")
    command = [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:llmock", "-p", "no:asyncio"]
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment(ASKBOT_NONSENSE="1"), capture_output=True, text=True, check=False
    )

    assert ended.returncode == 0, ended.stdout
    assert "5 passed" in ended.stdout


def test_the_timeouts_of_deploy_are_longer_than_the_drain() -> None:
    """Else running answers would be cut off by whoever stops the server."""
    text = (DOCS / "deploy.md").read_text("utf-8")
    stop = re.search(r"^TimeoutStopSec=(\d+)$", (ROOT / "deploy/askbot.service").read_text(), re.MULTILINE)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["askbot"]

    assert stop
    assert int(stop[1]) > 20 + 8 + 10_000 / MIN_CLOSES_PER_SECOND
    assert f"{stop[1]} s before it is killed" in text
    assert compose["stop_grace_period"] == "45s"
