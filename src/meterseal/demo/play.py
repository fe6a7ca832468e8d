"""Playing the scenes, one after another on one stage; a scene that fails is told, and the next one plays."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

from meterseal.demo.scene import Account, Played, Scene
from meterseal.demo.scenes import SCENES
from meterseal.demo.stage import Stage
from meterseal.errors import MetersealError

LONGEST: Final = 180.0
"""Seconds that one scene may take."""

_FAULTS: Final = (MetersealError, OSError, AttributeError, ImportError, LookupError, TypeError, ValueError)


def play(told: Callable[[Played], None] | None = None, scenes: Iterable[Scene] = SCENES) -> list[Played]:
    """Play the scenes; `told` gets each as it ends. Needs no running loop.

    Raises ConnectionLost when the meter cannot be started at all. What a scene raises makes its claim not
    held. An interrupt ends everything, and leaves neither process nor folder.
    """
    try:
        return asyncio.run(_all(told or _nobody, scenes))
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None


async def _all(told: Callable[[Played], None], scenes: Iterable[Scene]) -> list[Played]:
    played = []
    with _ended_by_signal():
        async with Stage() as stage:
            for scene in scenes:
                played.append(await _one(scene, stage))
                told(played[-1])
    return played


async def _one(scene: Scene, stage: Stage) -> Played:
    account, fault = Account(), None
    stage.journal()  # what is in there belongs to others
    try:
        async with asyncio.timeout(LONGEST):
            await scene.act(stage, account)
    except _FAULTS as error:
        kind = error.kind if isinstance(error, MetersealError) else type(error).__name__
        fault = f"{kind}: {error}"
    if lines := stage.journal():
        account.evidence["meter_journal"] = lines
    return Played(scene.name, scene.claim, tuple(account.facts), account.evidence, fault)


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """SIGTERM ends the play as an interrupt does: by way of everything that cleans up."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    handled = False
    with suppress(NotImplementedError, RuntimeError, ValueError):  # Windows; a thread other than the main one
        loop.add_signal_handler(signal.SIGTERM, lambda: task is not None and task.cancel())
        handled = True
    try:
        yield
    finally:
        if handled:
            loop.remove_signal_handler(signal.SIGTERM)


def _nobody(played: Played) -> None:
    """Nobody waits for the scenes one by one."""
