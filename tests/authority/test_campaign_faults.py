"""A campaign whose line breaks and whose workers and meters are killed ends complete: no meter is lost."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path

import pytest

from meterseal.authority.adoption import credentials_of
from meterseal.authority.campaign import Campaign
from meterseal.authority.store import Store, open_store
from meterseal.client.aio import connect
from meterseal.crypto import GcmKey
from meterseal.errors import MetersealError
from meterseal.framing import wrapper
from meterseal.keys.kinds import Slot
from meterseal.keys.lifecycle import State
from meterseal.meter.fleet import BASE
from tests.authority.campaigning import NAME, Yard

SERVICES = (0xC8, 0xC9, 0xCB, 0xCC, 0xCD, 0xCF)
DEVICE_NAME = "1/0.0.42.0.0.255:2"
LEAST = 9
"""Protected frames of a meter whose new key is proved: pass 3 and 4, a request, its answer and the transfer,
whose own answer a fault may have lost; then pass 3 and 4, a request and its answer under the new key."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meters that do not let who fails wait for long; forked ones too."""
    monkeypatch.setattr("meterseal.meter.delays.FIRST", 0.001)
    monkeypatch.setattr("meterseal.meter.delays.LONGEST", 0.004)


@pytest.mark.parametrize(
    ("count", "every"),
    [(12, 50), pytest.param(1000, 120, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])],
)
def test_G13_G02_H01_a_campaign_with_faults_ends_complete(tmp_path: Path, count: int, every: int) -> None:
    yard = Yard(tmp_path, count, every)
    with yard.open():
        start = time.monotonic()
        counts = yard.run()
        took = time.monotonic() - start
        with open_store(yard.store_path, by="test") as store:
            titles = [task.device for task in Campaign(store, NAME).tasks()]
            asyncio.run(_all_let_in(store, titles, f"tcp://127.0.0.1:{yard.fleet_port}"))
            assert store.rotations.open() == [] and store.core.verify_journal() > 0
            assert counts == {"waiting": 0, "working": 0, "done": count, "failed": 0, "stuck": 0}
            frames = yard.frames()
            print(
                f"{count} meters, {took:.1f} s, {1e3 * took / count:.0f} ms each; {len(frames)} frames, "
                f"killed: {yard.kills}"
            )
            assert sum(yard.kills.values()) >= max(1, count // 20)
            assert _alone(frames) == count
            assert _each_counter_once(store, titles, frames) >= LEAST * count


def test_H02_told_to_end_in_the_middle_of_key_changes(tmp_path: Path) -> None:
    """SIGTERM: the meters end in order, workers at once, and whoever comes next goes on."""
    yard = Yard(tmp_path, 5, 11, signal.SIGTERM)  # 13 frames each at the least: the third kill comes by 63
    with yard.open():
        assert yard.run()["done"] == yard.count
        with open_store(yard.store_path, by="test") as store:
            titles = [task.device for task in Campaign(store, NAME).tasks()]
            asyncio.run(_all_let_in(store, titles, f"tcp://127.0.0.1:{yard.fleet_port}"))
            assert store.rotations.open() == []
    assert sum(yard.kills.values()) >= 3 and {*yard.ended} <= {0}


async def _all_let_in(store: Store, titles: list[bytes], url: str) -> None:
    """Every meter opens under the one key that is active, and that is not the one it came with."""
    for title in titles:
        held = store.keys.slot(Slot(title, "operator", "guek"))
        (active,) = (one for one in held if one.state is State.ACTIVE)
        assert active.version > 1 and active.proved is not None
        given = credentials_of(store, title).at(url)
        async with connect(credentials=given, role="operator", counters=store.counters) as operator:
            await operator.read(DEVICE_NAME)


def _alone(frames: list[tuple[int, str, bytes]]) -> int:
    """Once another connection has spoken to a meter, none that spoke before does; how many meters."""
    last: dict[int, int] = {}
    gone: dict[int, set[int]] = {}
    for number, direction, frame in frames:
        if direction == "out":
            meter = int.from_bytes(frame[4:6], "big")
            before = last.setdefault(meter, number)
            if before != number:
                gone.setdefault(meter, set()).add(before)
                last[meter] = number
            assert number not in gone.get(meter, ()), f"two at once at meter {meter - BASE}"
    return len(last)


def _each_counter_once(store: Store, titles: list[bytes], frames: list[tuple[int, str, bytes]]) -> int:
    """No key, title and counter comes twice among what opens; how many do."""
    known = {}
    for title in titles:
        given, slots = credentials_of(store, title), store.keys.stored(title)
        for name, role in given.roles.items():
            if role.guek is not None:
                gak = role.octets("gak") or b""
                gueks = [store.keys.opened(one) for one in slots[Slot(title, name, "guek")]]
                handles = [GcmKey(one.reveal(), gak) for one in gueks]
                known[given.meter.logical_device, role.client] = (
                    handles, {"out": role.client_system_title or b"", "in": title}
                )  # fmt: skip
    used = set()
    for _, direction, frame in frames:
        apdu = frame[wrapper.HEADER_LENGTH :]
        ports = int.from_bytes(frame[2:4], "big"), int.from_bytes(frame[4:6], "big")
        pair = ports[::-1] if direction == "out" else ports
        if apdu[0] not in SERVICES or apdu[1] > 0x7F or pair not in known:
            continue
        handles, titles_of = known[pair]
        counter = apdu[3:7]
        for handle in handles:
            try:
                handle.open(apdu[2], titles_of[direction] + counter, apdu[7:])
            except MetersealError:
                continue
            assert (handle, direction, counter) not in used
            used.add((handle, direction, counter))
            break
    return len(used)
