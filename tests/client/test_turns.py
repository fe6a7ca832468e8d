"""Turns: one conversation at a time, first come first served, and nobody is forgotten who gave up."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from meterseal.client.driving import Turn


async def _take(turn: Turn, name: int, order: list[int], inside: list[int]) -> None:
    if turn.taken:
        await turn.wait()
    turn.taken = True
    try:
        inside.append(name)
        assert len(inside) == 1, "two at a time"
        order.append(name)
        await asyncio.sleep(0)
    finally:
        inside.remove(name)
        turn.pass_on()


async def _play(cancelled: Sequence[tuple[int, int]]) -> list[int]:
    turn, order, inside = Turn(), list[int](), list[int]()
    tasks = [asyncio.create_task(_take(turn, name, order, inside)) for name in range(6)]
    for after, name in cancelled:
        for _ in range(after):
            await asyncio.sleep(0)
        tasks[name].cancel()
    async with asyncio.timeout(30):
        await asyncio.gather(*tasks, return_exceptions=True)
    assert not turn.taken
    assert all(task.cancelled() or task.exception() is None for task in tasks)
    return order


def test_first_come_first_served() -> None:
    assert asyncio.run(_play([])) == [0, 1, 2, 3, 4, 5]


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), max_size=5))
def test_who_is_cancelled_blocks_nobody(cancelled: list[tuple[int, int]]) -> None:
    order = asyncio.run(_play(cancelled))
    assert order == sorted(order)
    assert set(range(6)) - {name for _, name in cancelled} <= set(order)
