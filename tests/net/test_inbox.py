"""What comes in is taken once, in order, by whoever waits for it; who is cancelled loses only what is his."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from time import monotonic

import pytest

from meterseal.errors import ConnectionLost, Misuse, TimedOut, TooLarge
from meterseal.net.inbox import UNREAD, Inbox

NEVER = float("inf")
BOTH = pytest.mark.parametrize("prompt", [False, True], ids=["by the loop", "at once"])


async def _waits(inbox: Inbox[bytes], seen: list[bytes], count: int = 1) -> None:
    for _ in range(count):
        seen.append(await inbox.wait(NEVER))


async def _begun(inbox: Inbox[bytes], seen: list[bytes], count: int = 1) -> asyncio.Task[None]:
    task = asyncio.create_task(_waits(inbox, seen, count))
    await asyncio.sleep(0)
    return task


def _put(inbox: Inbox[bytes], *items: bytes) -> None:
    for item in items:
        inbox.put(item, len(item))


async def _by_the_loop(inbox: Inbox[bytes], *items: bytes) -> None:
    """As a transport does it: no task is at work."""
    done = asyncio.get_running_loop().create_future()

    def callback() -> None:
        _put(inbox, *items)
        done.set_result(None)

    asyncio.get_running_loop().call_soon(callback)
    await done


async def test_who_waits_goes_on_where_it_comes() -> None:
    inbox, seen = Inbox[bytes](prompt=True), list[bytes]()
    task = await _begun(inbox, seen, 3)
    during: list[int] = []

    def callback() -> None:
        for item in (b"1", b"2", b"3"):
            _put(inbox, item)
            during.append(len(seen))

    asyncio.get_running_loop().call_soon(callback)
    await task
    assert during == [1, 2, 3] and seen == [b"1", b"2", b"3"]


async def test_elsewhere_who_waits_goes_on_with_the_next_turn() -> None:
    inbox, seen = Inbox[bytes](), list[bytes]()
    task = await _begun(inbox, seen, 2)
    _put(inbox, b"1")
    assert not seen
    await asyncio.sleep(0)
    assert seen == [b"1"]
    _put(inbox, b"2")
    await task
    assert seen == [b"1", b"2"]


@BOTH
async def test_it_goes_on_in_its_own_context(prompt: bool) -> None:
    whose = ContextVar("whose", default="the loop's")
    inbox, seen = Inbox[bytes](prompt), list[str]()

    async def waits() -> None:
        whose.set("the task's")
        for _ in range(2):
            await inbox.wait(NEVER)
            seen.append(whose.get())

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    await _by_the_loop(inbox, b"1")
    await asyncio.sleep(0)
    await _by_the_loop(inbox, b"2")
    await task
    assert seen == ["the task's"] * 2 and whose.get() == "the loop's"


@BOTH
async def test_an_error_of_who_goes_on_is_the_tasks_own(prompt: bool) -> None:
    inbox = Inbox[bytes](prompt)

    async def waits() -> None:
        await inbox.wait(NEVER)
        raise ValueError("his own")

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    await _by_the_loop(inbox, b"1")
    with pytest.raises(ValueError, match="his own"):
        await task


@BOTH
def test_who_waits_when_the_program_ends_hides_no_error(prompt: bool) -> None:
    """`asyncio.run` cancels the tasks that are left when its loop does not run any more."""
    seen: list[bytes] = []

    async def program() -> None:
        inbox = Inbox[bytes](prompt)
        task = await _begun(inbox, seen)
        task.add_done_callback(lambda task: seen.append(b"cancelled" if task.cancelled() else b""))
        raise ValueError("why it ends")

    with pytest.raises(ValueError, match="why it ends"):
        asyncio.run(program())
    assert seen == [b"cancelled"]


@BOTH
async def test_what_nobody_waits_for_is_kept_in_order(prompt: bool) -> None:
    inbox = Inbox[bytes](prompt)
    _put(inbox, b"1", b"2")
    assert [await inbox.until(NEVER), await inbox.until(NEVER)] == [b"1", b"2"]
    with pytest.raises(TooLarge):
        inbox.put(b"", UNREAD)


@BOTH
async def test_who_is_cancelled_while_waiting_takes_nothing(prompt: bool) -> None:
    inbox, seen = Inbox[bytes](prompt), list[bytes]()
    for _ in range(2):
        task = await _begun(inbox, seen)
        task.cancel("enough")
        _put(inbox, b"1")  # before the task has seen that it is cancelled
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not seen and await inbox.until(NEVER) == b"1"
    task = await _begun(inbox, seen)
    await _by_the_loop(inbox, b"2")
    await task
    assert seen == [b"2"]


@pytest.mark.parametrize("kept", [False, True])
async def test_what_came_for_somebody_cancelled_meanwhile_is_kept_or_given_up(kept: bool) -> None:
    inbox = Inbox[bytes]()
    task = asyncio.ensure_future(inbox.until(NEVER) if kept else _waits(inbox, []))
    await asyncio.sleep(0)
    _put(inbox, b"1", b"2")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [await inbox.until(NEVER) for _ in range(1 + kept)] == [b"1", b"2"][not kept :]


@BOTH
async def test_one_waits_at_a_time(prompt: bool) -> None:
    inbox, seen = Inbox[bytes](prompt), list[bytes]()
    task = await _begun(inbox, seen, 2)
    for _ in range(2):
        with pytest.raises(Misuse, match="waits already"):
            await inbox.wait(NEVER)
        await _by_the_loop(inbox, b"1")
        await asyncio.sleep(0)
    await task


@BOTH
async def test_the_end_ends_the_wait_and_all_later_ones(prompt: bool) -> None:
    inbox, seen = Inbox[bytes](prompt), list[bytes]()
    task = await _begun(inbox, seen, 2)
    await _by_the_loop(inbox, b"1")
    await asyncio.sleep(0)
    inbox.fail(ConnectionLost("gone"))
    with pytest.raises(ConnectionLost, match="gone"):
        await task
    for _ in range(2):
        with pytest.raises(ConnectionLost, match="gone"):
            await inbox.wait(monotonic())
    assert seen == [b"1"]


@BOTH
async def test_a_wait_has_its_own_deadline_whatever_the_one_before_had(prompt: bool) -> None:
    inbox, seen = Inbox[bytes](prompt), list[bytes]()
    for deadline in (30.0, 0.0, 0.01):
        if deadline == 30.0:
            task = asyncio.create_task(_waits(inbox, seen))
            await asyncio.sleep(0)
            await _by_the_loop(inbox, b"1")
            await task
            continue
        with pytest.raises(TimedOut):
            await inbox.wait(monotonic() + deadline)
    task = await _begun(inbox, seen)
    await _by_the_loop(inbox, b"2")
    await task
    assert seen == [b"1", b"2"]


async def test_a_task_that_ends_the_line_where_it_goes_on_is_not_waited_for() -> None:
    inbox = Inbox[bytes](prompt=True)

    async def waits() -> None:
        await inbox.wait(NEVER)
        inbox.fail(ConnectionLost("by itself"))
        await inbox.wait(NEVER)

    task = asyncio.create_task(waits())
    await asyncio.sleep(0)
    await _by_the_loop(inbox, b"1", b"2")
    with pytest.raises(ConnectionLost, match="by itself"):
        await task
