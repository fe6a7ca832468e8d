"""What comes for all logical devices: each hears it once, its counter counts once, nobody answers (B06)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from meterseal.codec.types import Tag
from meterseal.crypto import GcmKey
from meterseal.errors import MetersealError
from meterseal.framing import hdlc, wrapper
from meterseal.keys.counters import ReceiveCounter, SendCounter
from meterseal.keys.kinds import GBEK
from meterseal.security import KeyInUse, Style
from tests.hostile.test_meter_protection import sealed_under
from tests.meter import forms
from tests.meter.world import Client, World, call, read, world, write

TEXT, SHIFT = "0.0.96.1.12.255", 6
CONFIG = f"""
[logical_devices.17]
[[objects]]
class = 1
obis = "{TEXT}"
type = "os"
value = "00"
writable = true
[[objects]]
class = 1
obis = "{TEXT}"
logical_device = 17
type = "os"
value = "00"
writable = true
[roles.manager]
logical_devices = [1, 17]
broadcast = ["1/{TEXT}:2", "8/0.0.1.0.0.255:{SHIFT}()"]
[roles.installer]
logical_devices = [1, 17]
broadcast = ["1/{TEXT}:2"]
"""
DEVICES, EVERYBODY = (1, 17), hdlc.ALL_STATION[1]


class House:
    """A meter with two logical devices on a bus; a client that has signed on to both, or as said."""

    def __init__(self, tmp: Path, devices: Sequence[int] = DEVICES, **options: Any) -> None:
        self.world: World = world(CONFIG, tmp=tmp)
        self.line = self.world.line()
        self.line.handler = self.world.party.bus_session(self.line)
        self.told: list[tuple[MetersealError, str]] = []
        self.world.meter.events.refused = lambda who, error, during: self.told.append((error, during))  # type: ignore[method-assign]
        self.clients = {
            sap: Client(self.world, "manager", self.line, sap, **options).sign_on() for sap in devices
        }
        self.sap = next(iter(self.clients.values())).sap
        ring = self.ring = self.world.meter.rings[self.sap]
        self.key = KeyInUse(GcmKey(ring.reveal(GBEK), ring.reveal(2)), SendCounter(5, 1000), ReceiveCounter())

    @property
    def floor(self) -> int:
        """The lowest acceptable counter of the broadcast key."""
        used = self.ring.setup.broadcast
        assert used is not None
        return used.rx.lowest

    def sealed(self, plain: bytes, tag: int, sc: int = 0x70) -> bytes:
        client = next(iter(self.clients.values()))
        return sealed_under(self.key, client.machine.profile.setup.own_title, plain, sc, tag)

    def put(self, octets: bytes, server: int = EVERYBODY) -> None:
        self.line.put(octets, self.sap, server)

    def texts(self) -> list[bytes]:
        """The text of each logical device, read by its own association."""
        return [client.get(1, TEXT) for client in self.clients.values()]


def setting(value: bytes, confirmed: bool = False) -> bytes:
    (message,) = forms.set_normal([write(1, TEXT, 2, value, Tag.OCTET_STRING)])
    octets = message.encode()
    return octets if confirmed else octets[:2] + b"\x81" + octets[3:]


def test_B06_a_broadcast_reaches_every_logical_device_and_its_counter_counts_once(
    tmp_path: Path,
) -> None:
    here = House(tmp_path)
    octets = here.sealed(setting(b"all"), 0xC9)
    here.put(octets)
    assert not here.line.answers() and here.floor == 6 and not here.told
    assert here.texts() == [b"all", b"all"]
    assert [c.set(1, TEXT, 2, b"own", Tag.OCTET_STRING) for c in here.clients.values()] == [0, 0]
    for server in (EVERYBODY, *DEVICES):  # neither again for all, nor redirected to one
        here.put(octets, server)
    answers = here.line.answers()
    assert len(answers) == 2 and here.floor == 6, "to one it is answered as any replay"
    assert len(here.told) == 3 and here.texts() == [b"own", b"own"]
    here.put(here.sealed(setting(b"general"), 0xDB))
    here.put(here.sealed(setting(b"wide"), 0xC9), hdlc.ALL_STATION[4])
    assert here.texts() == [b"wide", b"wide"] and not here.line.answers()


def test_a_call_for_all_is_done_where_the_role_lists_it(tmp_path: Path) -> None:
    here = House(tmp_path)
    (message,) = forms.action_normal([call(8, "0.0.1.0.0.255", SHIFT, 60, Tag.LONG)])
    octets = message.encode()
    here.put(here.sealed(octets[:2] + b"\x81" + octets[3:], 0xCB))
    assert here.world.meter.plant.offset == 120, "each logical device has a clock, and they are one"
    assert not here.line.answers()


@pytest.mark.parametrize("devices", [(1,), (17,)])
def test_only_associations_that_stand_hear_it(tmp_path: Path, devices: Sequence[int]) -> None:
    here = House(tmp_path, devices=devices)
    here.put(here.sealed(setting(b"all"), 0xC9))
    assert here.texts() == [b"all"]
    (other,) = set(DEVICES) - set(devices)
    late = Client(here.world, "manager", here.line, other).sign_on()
    assert late.get(1, TEXT) == b"\0"


def test_another_client_on_the_line_hears_nothing(tmp_path: Path) -> None:
    here = House(tmp_path)
    other = here.world.signed_on("installer", here.line)
    here.put(here.sealed(setting(b"all"), 0xC9))
    here.line.put(here.sealed(setting(b"of the manager"), 0xC9), other.sap, EVERYBODY)
    assert here.texts() == [b"all", b"all"] and here.floor == 6 and len(here.told) == 1


def test_B06_what_is_no_whole_unconfirmed_request_under_the_broadcast_key_is_not_done(
    tmp_path: Path,
) -> None:
    here = House(tmp_path, dedicated_key=None)
    client = here.clients[1]
    unicast = client.sealed(setting(b"unicast"), 3, Style.GLO)
    before = here.world.meter.rings[here.sap].setup.unicast
    assert before is not None
    lowest = before.rx.lowest
    confirmed = here.sealed(setting(b"confirmed", confirmed=True), 0xC9)
    good = here.sealed(setting(b"good"), 0xC9)
    for octets in (
        confirmed,
        here.sealed(forms.get_normal([read(1, TEXT)])[0].encode(), 0xC8),
        good[:-1] + bytes((good[-1] ^ 1,)),
        unicast,
        setting(b"plain"),
        bytes.fromhex("6003800100"),
        b"\xdf\x00",
        b"\xdd\x00",
        b"\xe0\x81\x00\x01\x00\x00\x01\x00",
        b"",
    ):
        here.put(octets)
        assert not here.line.answers(), octets.hex()
    assert before.rx.lowest == lowest and here.texts() == [b"\0", b"\0"]
    assert len(here.told) >= 9
    here.put(good)
    assert here.texts() == [b"good", b"good"], "what was forged has not used its counter up"


def test_frames_that_wait_keep_their_order_and_each_device_hears_it_once(tmp_path: Path) -> None:
    """An answer of one association waits, and what is for all with it; the other hears it at once."""
    here = House(tmp_path)
    session = here.line.handler
    live = session._live[here.sap, 17]  # type: ignore[attr-defined]
    live.held = deque()
    here.put(here.sealed(setting(b"all"), 0xC9))
    assert here.clients[1].get(1, TEXT) == b"all" and len(live.held) == 1
    session._let_go(live)  # type: ignore[attr-defined]
    assert here.texts() == [b"all", b"all"] and here.floor == 6


def test_datagrams_have_one_number_for_all_and_connections_none(tmp_path: Path) -> None:
    here = House(tmp_path)
    for make, number, heard in (
        (here.world.party.datagram_session, wrapper.ALL_STATION, True),
        (here.world.party.datagram_session, hdlc.ALL_STATION[4], False),
        (here.world.party.session, wrapper.ALL_STATION, False),
    ):
        line = here.line = here.world.line()
        line.handler = make(line)
        here.clients = {sap: Client(here.world, "manager", line, sap).sign_on() for sap in DEVICES}
        here.clients[1].set(1, TEXT, 2, b"before", Tag.OCTET_STRING)
        here.put(here.sealed(setting(b"after"), 0xC9), number)
        assert bool(line.answers()) is not heard, "where it is nobody's number it is answered"
        assert here.clients[1].get(1, TEXT) == (b"after" if heard else b"before")
