"""A hook of mkdocs: the pages of docs/decisions, which are added one by one, are all in the menu."""

from __future__ import annotations

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig


def on_config(config: MkDocsConfig) -> None:
    """Called by mkdocs once its configuration is read."""
    pages = sorted(Path(config.docs_dir, "decisions").glob("*.md"))
    menu: list[object] = config.nav or []  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    config.nav = [*menu, {"Decisions": [f"decisions/{page.name}" for page in pages]}]
