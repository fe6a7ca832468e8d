"""The `meterseal` command: loads the command line if its extra is installed, else says what to install."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec

NEEDS = ("typer", "rich")


def main() -> None:
    """Run the command line; without the `[cli]` extra print what to install and exit 2."""
    missing = [name for name in NEEDS if find_spec(name) is None]
    if missing:
        print(
            f"meterseal: the command line needs {' and '.join(missing)}: pip install 'meterseal[cli]'",
            file=sys.stderr,
        )
        raise SystemExit(2)
    importlib.import_module("meterseal.cli.app").run()
