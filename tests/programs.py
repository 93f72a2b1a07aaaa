"""See that there are the browsers and servers for the tests: the machine's own, or ones that are installed now.

Debian's packages are installed where this user may; elsewhere, it is said what is missing. A server that its package
starts with the machine is stopped and disabled, where it was installed here: tests start their own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program that tests start: its names in PATH, or whole paths, and where it comes from.

    Attributes:
        names: What it may be called; the first that is found is taken.
        packages: Debian's packages that have it. The next is tried where one can't be installed.
        elsewhere: How to get it without apt.
        is_service: Whether its packages start it with the machine, as a service of the package's name.
    """

    names: tuple[str, ...]
    packages: tuple[str, ...]
    elsewhere: str
    is_service: bool = False

    def path(self) -> str | None:
        """Where it is, or None."""
        return next(filter(None, map(shutil.which, self.names)), None)

    def how_to_get(self) -> str:
        """What to say where it isn't there."""
        return f"{self.names[0]} is missing. Debian, Ubuntu: `apt-get install {self.packages[0]}`. {self.elsewhere}"


CHROMIUM = Program(
    ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome"),
    ("chromium-headless-shell",),
    "Elsewhere: `.venv/bin/python -m playwright install chromium`.",
)
"""The headless shell is Chromium without a window's program: a tab takes a third of the processor's time."""

FIREFOX = Program(
    ("firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"),
    ("firefox-esr",),
    "macOS: `brew install --cask firefox`.",
)
WEBKIT = Program(("WebKitWebDriver",), ("webkit2gtk-driver",), "It is WebKitGTK's.")
XVFB = Program(("Xvfb",), ("xvfb",), "WebKit shows its window on it.")

NGINX = Program(("nginx", "/usr/sbin/nginx"), ("nginx",), "macOS: `brew install nginx`.", is_service=True)
"""Debian has programs for administrators in a folder that is not in every user's PATH."""

CADDY = Program(("caddy",), ("caddy",), "Elsewhere: https://caddyserver.com/docs/install.", is_service=True)
REDIS = Program(
    (os.environ.get("TEST_REDIS", "redis-server"), "valkey-server"),
    ("redis-server", "valkey-server"),
    "macOS: `brew install redis`.",
    is_service=True,
)
"""Valkey is the same for us: some systems have the one, some the other. TEST_REDIS names another program."""

SYSTEMD_ANALYZE = Program(("systemd-analyze",), ("systemd",), "It is systemd's: there is none but on Linux.")

HAS_SYSTEMD = sys.platform == "linux"
HAS_WEBKIT = sys.platform != "darwin"
"""macOS has no WebKitGTK."""

PROGRAMS = (
    *(CHROMIUM, FIREFOX, NGINX, CADDY, REDIS),
    *((WEBKIT, XVFB) if HAS_WEBKIT else ()),
    *((SYSTEMD_ANALYZE,) if HAS_SYSTEMD else ()),
)

FOR_A_CLUSTER = (NGINX, REDIS)
"""What `make cluster` starts."""

KOREAN_FONT = "fonts-nanum"
"""10 MB. Without any font that has Hangul, a page in Korean is drawn, and measured, as boxes."""


def missing(programs: Sequence[Program] = PROGRAMS) -> list[Program]:
    """The programs that are not there."""
    return [program for program in programs if not program.path()]


def has_korean_font() -> bool:
    """Whether Hangul can be drawn, as far as fontconfig says."""
    listing = shutil.which("fc-list")
    return bool(listing and subprocess.run([listing, ":lang=ko"], capture_output=True, check=True).stdout)


def privilege() -> list[str] | None:
    """What a command is begun with that root has to run; None where this user can't."""
    if os.geteuid() == 0:
        return []
    return ["sudo", "--non-interactive"] if shutil.which("sudo") else None


def install(programs: Sequence[Program] = (), *, fonts: Sequence[str] = ()) -> None:
    """Install Debian's packages, each as far as there is apt, it has it, and this user may."""
    root = privilege()
    if not (programs or fonts) or root is None or not shutil.which("apt-get"):
        return
    subprocess.run([*root, "apt-get", "update", "-qq"], check=False)
    for package in fonts:
        _install_package(root, package)
    for program in programs:
        for package in program.packages:
            if _install_package(root, package):
                if program.is_service:
                    stop_service(package)
                break


def _install_package(root: list[str], package: str) -> bool:
    """Install a package; returns whether it was installed."""
    command = [*root, "apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    return subprocess.run(command, check=False).returncode == 0


def stop_service(name: str) -> None:
    """End a service, and see that it does not start with the machine: with systemd and without."""
    root = privilege()
    if root is not None:
        for command in (["service", name, "stop"], ["update-rc.d", name, "disable"]):
            subprocess.run([*root, *command], check=False)


def main(arguments: Sequence[str] = ()) -> int:
    """Install what is missing, with `cluster` of what a cluster needs only; returns 1 where something still is."""
    if [*arguments] == ["cluster"]:
        install(missing(FOR_A_CLUSTER))
        return _report(missing(FOR_A_CLUSTER))
    wanted = missing()
    if CHROMIUM not in wanted and not shutil.which(CHROMIUM.names[0]):
        wanted.append(CHROMIUM)
    install(wanted, fonts=[] if has_korean_font() else [KOREAN_FONT])
    if not CHROMIUM.path():
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    return _report([program for program in missing() if program is not CHROMIUM])


def _report(lacking: Sequence[Program]) -> int:
    """Say how to get what is missing; returns 1 where something is, else 0."""
    for program in lacking:
        print(program.how_to_get(), file=sys.stderr)
    return 1 if lacking else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
