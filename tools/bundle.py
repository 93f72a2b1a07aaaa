"""Make `client/page/bundle.js`: the page's modules as one file, by esbuild of tests/js. The server looks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from askbot_ws.http.pages import BUNDLE, bundle_banner, read_client_files

ROOT = Path(__file__).parents[1]
CLIENT = ROOT / "client"
ESBUILD = ROOT / "tests/js/node_modules/.bin/esbuild"
EARLY = "./early-text.js"  # which the page also loads before all others


def bundle() -> None:
    """Write the bundle; raises subprocess.CalledProcessError where a module has a fault."""
    banner = bundle_banner(read_client_files(CLIENT)).decode()
    flags = ["--bundle", "--minify", "--format=esm", "--target=es2022", "--log-level=warning"]
    flags += [f"--external:{EARLY}", f"--banner:js={banner}", f"--outfile={CLIENT / BUNDLE}"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"  # Node is in the virtual environment
    subprocess.run([str(ESBUILD), str(CLIENT / "page/page.js"), *flags], check=True, env=os.environ | {"PATH": path})


if __name__ == "__main__":
    bundle()
