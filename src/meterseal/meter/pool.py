"""Jobs of associations: curve work, done here and now, or by threads while others are served.

The backend lets go of the interpreter while it computes, so a sign-on of one client costs the others nothing
but the time to hand its jobs over.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

Then: TypeAlias = Callable[[Any], None]

Jobs: TypeAlias = Callable[[Callable[[], Any], Then, Callable[[Exception], None]], None]
"""Runs a pure call and hands its result to the second; to the third an exception: a fault of ours."""

_LEAST, _MOST = 2, 4
"""Threads: one job that takes long does not keep the others waiting."""


def inline(job: Callable[[], Any], then: Then, broken: Callable[[Exception], None]) -> None:
    """Here and now; an exception goes to the caller."""
    then(job())


class Pool:
    """Threads for the jobs of all meters of a loop; there are none before the first job."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._threads = ThreadPoolExecutor(min(_MOST, max(_LEAST, os.cpu_count() or 1)), "meterseal-jobs")

    def run(self, job: Callable[[], Any], then: Then, broken: Callable[[Exception], None]) -> None:
        """Have it done; `then` or `broken` is called by the loop, neither of them once this is closed."""
        future = self._loop.run_in_executor(self._threads, job)

        def done(found: asyncio.Future[Any]) -> None:
            if found.cancelled():
                return
            error = found.exception()
            if error is None:
                then(found.result())
            elif isinstance(error, Exception):
                broken(error)

        future.add_done_callback(done)

    def close(self) -> None:
        """Begin no more jobs; one that is under way ends for nobody."""
        self._threads.shutdown(wait=False, cancel_futures=True)
