"""A new broadcast key at a meter of a preset: brought, proved by a harmless write, and only then active."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meterseal import net
from meterseal.apdu import ciphered
from meterseal.authority.adoption import adopt, credentials_of
from meterseal.authority.probing import Line
from meterseal.authority.rotator import Report, Rotator
from meterseal.authority.store import create_store, open_store
from meterseal.client.aio import connect
from meterseal.codec.types import Tag
from meterseal.credentials import Credentials
from meterseal.crypto import SUITES
from meterseal.errors import Refused
from meterseal.framing import wrapper
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State
from meterseal.meter import Meter, Party, load_plan, write_credentials

DISPLAY, POINT = "1/0.0.96.13.1.255:2", "1/0.0.96.1.10.255:2"
TEXT = b"no supply on Monday"
_SET = ciphered.GLO_TAG[0xC1]


class Here:
    """A meter of the preset on lines in memory, and a store that has adopted it."""

    def __init__(self, folder: Path, preset: str) -> None:
        self.store = str(folder / "keys.db")
        self.meter = Meter(load_plan(preset), folder / "meter")
        self.sent: list[bytes] = []
        path = folder / "meter.toml"
        write_credentials(self.meter, path)
        with create_store(self.store, by="test") as store:
            adopt(store, Credentials.load(path))

    def line(self) -> net.Line:
        return net.loopback(Party(self.meter, asyncio.get_running_loop()).session, tamper=self._look)

    def _look(self, direction: str, octets: bytes) -> bytes:
        self.sent.append(octets[wrapper.HEADER_LENGTH :])
        return octets

    def rotate(self, role: str) -> tuple[Report, list[tuple[State, bytes]]]:
        """Rotate a role's GBEK; the report, and the keys of the slot as the store then has them."""

        async def go() -> tuple[Report, list[tuple[State, bytes]]]:
            with open_store(self.store, by="test") as store:
                rotator = Rotator(store, Line(line=self.line, timeout=30))
                report = await rotator.rotate(self.meter.system_title, ["gbek"], [role])
                kept = store.keys.slot(Slot(self.meter.system_title, role, "gbek"))
                return report, [(one.state, store.keys.reveal(one).reveal()) for one in kept]

        return asyncio.run(go())

    def told(self, role: str, *texts: tuple[str, bytes]) -> list[object]:
        """Write texts under the role's broadcast key; what the manager then reads there."""

        async def go() -> list[object]:
            with open_store(self.store, by="test") as store:
                how: dict[str, Any] = {"credentials": credentials_of(store, self.meter.system_title)}
                how["counters"] = store.counters
                async with connect(role=role, line=self.line(), **how) as group:
                    for target, text in texts:
                        await group.broadcast(target, text, Tag.OCTET_STRING)
                async with connect(role="manager", line=self.line(), **how) as manager:
                    return [(await manager.read(target)).value for target in (DISPLAY, POINT)]

        return asyncio.run(go())


@pytest.fixture(scope="module", params=["suite0", "suite1", "suite2"])
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Here]:
    made = Here(tmp_path_factory.mktemp("group"), request.param)
    yield made
    made.meter.close()


@pytest.mark.parametrize(("role", "client"), [("manager", 1), ("operator", 2), ("installer", 3)])
def test_G04_a_new_broadcast_key_is_proved_by_a_write_under_it(here: Here, role: str, client: int) -> None:
    before = here.told(role, (DISPLAY, TEXT))
    assert before[0] == TEXT
    here.sent.clear()
    report, kept = here.rotate(role)
    assert (report.done, report.waiting, report.failed) == (
        [Slot(here.meter.system_title, role, "gbek")],
        {},
        {},
    )
    assert [state for state, _ in kept] == [State.DEACTIVATED, State.ACTIVE]
    assert kept[1][1] == here.meter.rings[client].reveal(1) != kept[0][1]
    controls = [apdu[2] for apdu in here.sent if apdu[0] == _SET]
    group = {sc for sc in controls if sc & ciphered.SC_BROADCAST}
    both = ciphered.SC_AUTHENTICATED | ciphered.SC_ENCRYPTED
    assert group == {ciphered.SC_BROADCAST | both | here.meter.plan.suite}
    assert len(kept[1][1]) == SUITES[here.meter.plan.suite].key_length
    assert here.told(role) == before, "what was there is put back"


@pytest.mark.parametrize("role", ["manager", "installer"])
def test_under_a_broadcast_key_only_the_display_is_written(here: Here, role: str) -> None:
    """Both may write the metering point, in an association and under their own keys."""
    _, before = here.told(role)
    told = here.told(role, (POINT, b"0" * 33), (DISPLAY, role.encode()))
    assert told == [role.encode(), before] and before != b"0" * 33


def test_the_operator_writes_the_display_under_the_broadcast_key_and_not_under_his_own(here: Here) -> None:
    async def alone() -> None:
        with open_store(here.store, by="test") as store:
            given = credentials_of(store, here.meter.system_title)
            async with connect(
                credentials=given, role="operator", line=here.line(), counters=store.counters
            ) as operator:
                await operator.write(DISPLAY, b"mine", Tag.OCTET_STRING)

    with pytest.raises(Refused, match="read-write-denied"):
        asyncio.run(alone())
    assert here.told("operator", (DISPLAY, b"ours"))[0] == b"ours"
