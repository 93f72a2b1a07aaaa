"""See that there are the browsers and servers for the tests: the machine's own, or ones that are installed now.

Debian's packages are installed where this user may; elsewhere, it is said what is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program that tests start: its names in PATH, or whole paths, and where it comes from.

    Attributes:
        names: What it may be called; the first that is found is taken.
        package: Debian's package.
        elsewhere: How to get it without apt.
    """

    names: tuple[str, ...]
    package: str
    elsewhere: str

    def path(self) -> str | None:
        """Where it is, or None."""
        return next(filter(None, map(shutil.which, self.names)), None)

    def how_to_get(self) -> str:
        """What to say where it isn't there."""
        return f"{self.names[0]} is missing. Debian, Ubuntu: `apt-get install {self.package}`. {self.elsewhere}"


CHROMIUM = Program(
    ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"),
    "chromium-headless-shell",
    "Elsewhere: `.venv/bin/python -m playwright install chromium`.",
)
"""The headless shell is Chromium without a window's program: a tab takes a third of the processor's time."""

FIREFOX = Program(
    ("firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"),
    "firefox-esr",
    "macOS: `brew install --cask firefox`.",
)
WEBKIT = Program(("WebKitWebDriver",), "webkit2gtk-driver", "It is WebKitGTK's.")
XVFB = Program(("Xvfb",), "xvfb", "WebKit shows its window on it.")

NGINX = Program(("nginx", "/usr/sbin/nginx"), "nginx", "macOS: `brew install nginx`.")
"""Debian has programs for administrators in a folder that is not in every user's PATH."""

CADDY = Program(("caddy",), "caddy", "Elsewhere: https://caddyserver.com/docs/install.")
SYSTEMD_ANALYZE = Program(("systemd-analyze",), "systemd", "It is systemd's: there is none but on Linux.")

HAS_SYSTEMD = sys.platform == "linux"
HAS_WEBKIT = sys.platform != "darwin"
"""macOS has no WebKitGTK."""

PROGRAMS = (
    *(CHROMIUM, FIREFOX, NGINX, CADDY),
    *((WEBKIT, XVFB) if HAS_WEBKIT else ()),
    *((SYSTEMD_ANALYZE,) if HAS_SYSTEMD else ()),
)

KOREAN_FONT = "fonts-nanum"
"""10 MB. Without any font that has Hangul, a page in Korean is drawn, and measured, as boxes."""


def missing() -> list[Program]:
    """The programs that are not there."""
    return [program for program in PROGRAMS if not program.path()]


def has_korean_font() -> bool:
    """Whether Hangul can be drawn, as far as fontconfig says."""
    listing = shutil.which("fc-list")
    return bool(listing and subprocess.run([listing, ":lang=ko"], capture_output=True, check=True).stdout)


def install(packages: Iterable[str]) -> None:
    """Install Debian's packages, each as far as there is apt, it has it, and this user may."""
    if not shutil.which("apt-get"):
        return
    is_root = os.geteuid() == 0
    if not is_root and not shutil.which("sudo"):
        return
    apt = ["apt-get"] if is_root else ["sudo", "--non-interactive", "apt-get"]
    subprocess.run([*apt, "update", "-qq"], check=False)
    for package in packages:
        subprocess.run([*apt, "install", "-y", "-qq", "--no-install-recommends", package], check=False)


def main() -> int:
    """Install what is missing; returns the exit code, 1 where a program still is."""
    packages = [program.package for program in missing()]
    if not shutil.which(CHROMIUM.names[0]):
        packages.append(CHROMIUM.package)
    if not has_korean_font():
        packages.append(KOREAN_FONT)
    if packages:
        install(dict.fromkeys(packages))
    if not CHROMIUM.path():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    lacking = [program for program in missing() if program is not CHROMIUM]
    for program in lacking:
        print(program.how_to_get(), file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main())
