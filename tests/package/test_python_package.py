"""What would be published to the Python package index."""

from __future__ import annotations

import sys
import tarfile
import zipfile
from pathlib import Path

from askbot_ws import __version__
from askbot_ws.http.pages import has_bundle

from .npm import CLIENT, run

NAME = f"askbot_ws-{__version__}"
MODULES = "askbot_ws/client_files/"


async def test_the_page_is_in_it_with_its_bundle(tmp_path: Path) -> None:
    """In the wheel, and in what a wheel is made of elsewhere; `make setup` has made the bundle."""
    await run(sys.executable, "-m", "hatchling", "build", "--directory", tmp_path)
    with zipfile.ZipFile(tmp_path / f"{NAME}-py3-none-any.whl") as archive:
        names = [name for name in archive.namelist() if name.startswith(MODULES) and name.endswith((".js", ".css"))]
        assert has_bundle({name.removeprefix(MODULES): archive.read(name) for name in names})
    with tarfile.open(tmp_path / f"{NAME}.tar.gz") as archive:
        assert [name for name in archive.getnames() if name.endswith("client/page/bundle.js")] != []
    assert {name.removeprefix(MODULES) for name in names if "/page/" not in name} == {
        path.name for path in CLIENT.glob("*.js")
    }
