"""Bars, as an SVG that reads on light and on dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.quiet { fill: #656d76 }
.line { stroke: #8c959f; stroke-dasharray: 3 3 }
.bar { fill: #8c959f }
.ours { fill: #1a7f5a }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  .quiet { fill: #9198a1 }
  .bar { fill: #6e7681 }
  .ours { fill: #3fb68b }
}
"""
WIDTH, NAMES, NUMBERS, ROW, GAP, TOP = 720, 110, 130, 22, 14, 40


@dataclass(frozen=True, slots=True)
class Bar:
    """One value."""

    name: str
    value: float
    text: str
    ours: bool = False


def bars(title: str, groups: Sequence[tuple[str, Sequence[Bar]]], *, line: float | None = None) -> str:
    """Groups of bars under each other, on one scale; a dashed line at a value, if any."""
    most = max((bar.value for _, group in groups for bar in group), default=0.0) or 1.0
    scale = (WIDTH - NAMES - NUMBERS) / most
    parts: list[str] = []
    y = TOP
    for name, group in groups:
        if name:
            parts.append(_text(0, y + 14, name, "quiet"))
            y += ROW
        for bar in group:
            parts.append(_text(NAMES - 8, y + 14, bar.name, anchor="end"))
            kind = "ours" if bar.ours else "bar"
            width = max(1.0, bar.value * scale)
            parts.append(
                f'<rect class="{kind}" x="{NAMES}" y="{y + 2}" width="{width:.1f}" height="{ROW - 6}" rx="2"/>'
            )
            parts.append(_text(NAMES + width + 6, y + 14, bar.text))
            y += ROW
        y += GAP
    if line is not None:
        x = NAMES + line * scale
        parts.append(f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y - GAP}"/>')
    body = "\n".join([_text(0, 18, title, "title"), *parts])
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n{body}\n</svg>\n"
    )


def _text(x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
