"""The demonstration's meter: what `meterseal meter run` runs, as a process that ends with the one above it.

Usage: python -m meterseal.demo.meter STATE-FOLDER CREDENTIALS-FILE, with a pipe as stdin: it ends when the
other end of that closes, however its parent ended.
"""

from __future__ import annotations

import os
import signal
import sys
from threading import Thread

from meterseal.meter import run_meter


def main(state: str, credentials: str) -> None:
    """Run the meter until it is told to end, or left alone."""
    Thread(target=_end_with_parent, daemon=True).start()
    run_meter(state=state, credentials_out=credentials)


def _end_with_parent() -> None:
    os.read(sys.stdin.fileno(), 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(*sys.argv[1:])
