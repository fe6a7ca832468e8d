"""The utility with asyncio: the same conversations, one at a time, with deadlines and an end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from meterseal.errors import ConnectionLost, Withheld
from meterseal.security.sealed import Sealed
from meterseal.state import FileCounters, MemoryCounters
from meterseal.utility import ProtectedMeter, SealedMeter, SealedSession
from tests.utility.street import Street, street
from tests.utility.test_protected import MORE
from tests.utility.test_pushes import PUSH, pushed


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    more = MORE.format(required="") + PUSH.format(form="static", signed="signed = true")
    folder = tmp_path_factory.mktemp("street")
    with street(folder, role="manager", more=more) as s:
        yield s


def utility(s: Street, timeout: float = 30.0) -> SealedMeter:
    async def carry(sealed: Sealed) -> Sealed:
        await asyncio.sleep(0)
        return s.carrier.forward(sealed)

    credentials = s.credentials.cut_third_party("utility")
    made = SealedMeter(credentials, carry, counters=MemoryCounters(), timeout=timeout)
    made._session._now = s.utility._session._now
    # Each process of a utility goes on where the one before stood.
    made._session.counting._start = s.meter.thirds["utility"].fresh.rx.lowest
    return made


async def test_read_call_and_push(here: Street, tmp_path: Path) -> None:
    async with utility(here) as u:
        assert (await u.read("1.0.1.8.0.255")).unit == "Wh"
        await u.call("70/0.0.96.3.10.255:2")
        (push,) = pushed(here, tmp_path)
        assert (await u.push(push)).value
        assert u.layers[0]["verified"] and u.missed == 0
        assert here.meter.system_title == u.system_title
        assert here.meter.system_title.hex().upper() in repr(u)


async def test_requests_wait_for_their_turn(here: Street) -> None:
    u = utility(here)
    found = await asyncio.gather(*(u.read("3/1.0.1.8.0.255:2") for _ in range(4)))
    assert len(found) == 4 and u.missed == 0


async def test_E04_nothing_within_the_deadline_is_withheld(here: Street) -> None:
    u = utility(here, timeout=0.05)

    async def never(sealed: Sealed) -> Sealed:
        await asyncio.Event().wait()
        raise AssertionError

    u._carry = never
    with pytest.raises(Withheld, match="no answer"):
        await u.read("3/1.0.1.8.0.255:2")


async def test_what_goes_wrong_on_the_way_is_told_as_it_is(here: Street) -> None:
    u = utility(here)

    async def broken(sealed: Sealed) -> Sealed:
        raise ConnectionLost("the head-end is not there")

    u._carry = broken
    with pytest.raises(ConnectionLost):
        await u.read("3/1.0.1.8.0.255:2")


async def test_counters_are_kept_in_a_folder(here: Street, tmp_path: Path) -> None:
    store = FileCounters(tmp_path)
    u = utility(here)
    counting = u._session.counting
    counting._state = replace(counting._state, counters=store)
    async with u:
        await u.read("3/1.0.1.8.0.255:2")
    answers, _ = counting._floors
    assert store.received(answers) == counting.counted.rx.lowest


async def test_data_protection(here: Street) -> None:
    async def act(class_id: int, instance: bytes, method: int, data: bytes) -> bytes | None:
        return here.carrier.action(class_id, instance, method, data)

    credentials = here.credentials.cut_third_party("utility")
    made = ProtectedMeter(credentials, act, counters=MemoryCounters())
    made._session.counting._start = here.meter.thirds["utility"].fresh.rx.lowest
    async with made as u:
        assert (await u.read("1.0.1.8.0.255")).unit == "Wh"


def test_names_of_the_package() -> None:
    import meterseal.utility as package

    assert package.SealedSession is SealedSession
    with pytest.raises(AttributeError):
        package.nothing  # type: ignore[attr-defined]  # noqa: B018
