"""The demonstration's meter: what `meterseal meter run` runs, as a process that ends with the one above it.

Usage: python -m meterseal.demo.meter STATE-FOLDER CREDENTIALS-FILE PRESET [CONFIG [TRUST]], with a pipe as
stdin: it ends when the other end of that closes, however its parent ended.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Thread

from meterseal.meter import run_meter


def main(state: str, credentials: str, preset: str, config: str = "", trust: str = "") -> None:
    """Run the meter until it is told to end, or left alone; what is empty is not there."""
    Thread(target=_end_with_parent, daemon=True).start()
    run_meter(
        preset=preset, state=state, credentials_out=credentials, config=config or None, trust=trust or None
    )


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
