"""`meterseal utility pushes`: what meters have pushed for a utility, fetched at a head-end and opened."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

from meterseal.cli import output, pages
from meterseal.cosem.texts import json_text, moment_text
from meterseal.credentials import Credentials
from meterseal.errors import ConfigurationError, ConnectionLost, MetersealError
from meterseal.probe import Dissection, show

if TYPE_CHECKING:
    from meterseal.utility.pushes import Arrived, Pushes

WAIT: Final = 25.0
"""Seconds that the head-end is asked to wait for a push, when this stays."""

_AGAIN, _AGAIN_AT_MOST = 1.0, 30.0
"""Seconds before a head-end that was not reached is asked again: doubling."""

Emit = Callable[[str], None]


def held(path: Path) -> dict[bytes, Credentials]:
    """What a utility holds, by the meters' titles: of a file, or of all those in a folder that have any.

    Raises ConfigurationError where there is nothing.
    """
    files = sorted(path.glob("*.toml")) if path.is_dir() else [path]
    loaded = [one for one in map(Credentials.load, files) if one.third_parties]
    found = {one.meter.system_title: one for one in loaded if one.meter.system_title is not None}
    if not found:
        raise ConfigurationError(f"{path}: no third party's credentials with a system title in there")
    return found


def fetch(
    url: str,
    credentials: Path,
    third_party: str | None,
    state: Path | None,
    *,
    signed: bool,
    json: bool,
    count: int | None,
    follow: bool,
    out: Path | None,
) -> int:
    """Open what waits, and with `follow` what comes; how many were not as a meter had sealed them."""
    from meterseal.utility.over_https import Via
    from meterseal.utility.pushes import Pushes

    found = held(credentials)
    bad = 0

    async def run() -> None:
        nonlocal bad
        with ExitStack() as stack:
            emit = _page if out is None else _lines(stack, out)

            def deliver(arrived: Arrived) -> None:
                nonlocal bad
                bad += arrived.error is not None
                _show(arrived, json or out is not None, emit)

            async with Via(url, next(iter(found.values())), third_party) as via:
                pushes = Pushes(via, found.get, third_party, state=state, signed=signed)
                if follow:
                    await _stay(pushes, deliver, via.meters, url, out is not None)
                else:
                    await _all(pushes, deliver, count)

    asyncio.run(run())
    return bad


async def _all(pushes: Pushes, deliver: Callable[[Arrived], None], count: int | None) -> None:
    left = count
    while left is None or left:
        got = await pushes.fetch(deliver, most=left)
        if not got:
            return
        left = None if left is None else left - got


async def _stay(
    pushes: Pushes,
    deliver: Callable[[Arrived], None],
    ask: Callable[[], Awaitable[Any]],
    url: str,
    announced: bool,
) -> None:
    """Until SIGINT or SIGTERM; a head-end that is away is asked again."""
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    await ask()
    if announced:
        output.emit(f"listening on {url}")
        output.flush()
    else:
        output.note(f"listening on {url}")

    async def work() -> None:
        pause = _AGAIN
        while True:
            try:
                await pushes.fetch(deliver, wait=WAIT)
                pause = _AGAIN
            except ConnectionLost as error:
                output.note(f"{error.kind}: {error}")
                await asyncio.sleep(pause)
                pause = min(2 * pause, _AGAIN_AT_MOST)

    working, stopped = asyncio.create_task(work()), asyncio.create_task(stop.wait())
    await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, stopped):
        task.cancel()
    results = await asyncio.gather(working, stopped, return_exceptions=True)
    for result in results:
        if isinstance(result, MetersealError):
            raise result


def _page(text: str) -> None:
    output.emit(text)
    output.flush()


def _lines(stack: ExitStack, path: Path) -> Emit:
    """Lines at the end of a file of mode 0600.  Raises ConfigurationError."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from None
    file: TextIO = stack.enter_context(os.fdopen(descriptor, "a", encoding="utf-8"))

    def emit(text: str) -> None:
        file.write(f"{text}\n")
        file.flush()

    return emit


def _show(arrived: Arrived, json: bool, emit: Emit) -> None:
    """One push as `decode --json` writes it, or as a page; who brought it and when stands in front."""
    waiting, pushed, error = arrived.waiting, arrived.pushed, arrived.error
    at = moment_text(datetime.fromtimestamp(waiting.received, UTC), "milliseconds")
    title = waiting.meter.hex().upper()
    one = (
        Dissection((), None, None, None, error=error)
        if pushed is None
        else Dissection(
            tuple(pushed.layers), pushed.message.name, pushed.plain, show.show(pushed.message),
            message=pushed.message,
        )
    )  # fmt: skip
    if json:
        who = {"received": at, "meter": title, "push": waiting.id}
        emit(json_text({**who, **one.to_json()}))
        return
    if error is not None:
        output.note(f"{title}: {error.kind}: {error}")
        return
    output.emit(f"{at.replace('+00:00', 'Z')}  {title}")
    pages.dissection(one)
    output.emit("")
    output.flush()
