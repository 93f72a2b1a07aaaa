"""Check that a type checker knows the types of all public names (`public_api.py`) and of what they have.

By pyright's `--verifytypes`: an attribute without a declared type, which type checkers may infer differently, leaves
all that has it incomplete, however far away.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from public_api import names

SOURCE = str(Path(__file__).parents[1] / "src")  # an editable installation is not seen


def reported() -> list[dict[str, Any]]:
    """What pyright says of each symbol of the package."""
    command = [sys.executable, "-m", "pyright", "--verifytypes", "askbot_ws", "--ignoreexternal", "--outputjson"]
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": SOURCE}
    )
    return cast("list[dict[str, Any]]", json.loads(ended.stdout)["typeCompleteness"]["symbols"])


def incomplete(symbols: list[dict[str, Any]]) -> list[str]:
    """The public names whose types are not wholly known, and the attributes that are the reasons, one line each."""
    public = {f"{each.module}.{each.name}" for _, found in names() for each in found}
    if unseen := sorted(public - {symbol["name"] for symbol in symbols}):
        return [f"{name}: pyright has not seen it" for name in unseen]
    unknown = [symbol for symbol in symbols if not symbol["isTypeKnown"] or symbol["isTypeAmbiguous"]]
    found = [name for symbol in unknown if (name := symbol["name"]) in public or name.rpartition(".")[0] in public]
    reasons = [
        f"  {symbol['name']}: {' '.join(told['message'].split())}"
        for symbol in unknown
        for told in symbol["diagnostics"]
        if "partially unknown" not in told["message"]  # it only has another that is
    ]
    return [*(f"{name}: its type is not wholly known" for name in found), *(reasons if found else [])]


def main() -> int:
    """Print what is incomplete; returns the exit code."""
    found = incomplete(reported())
    for each in found:
        print(each)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
