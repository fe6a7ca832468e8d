"""Push setup, versions 0 to 2: what is sent, to whom, when, how often; nothing that the role may not read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu.services import DataNotification, DataNotificationConfirm
from meterseal.association import Operation, Service
from meterseal.codec.data import Data
from meterseal.codec.types import Array, Structure, Tag, Type
from meterseal.cosem.buffer import Row
from meterseal.cosem.obis import Obis
from meterseal.cosem.times import DateTime
from meterseal.crypto import GcmKey
from meterseal.errors import ConfigurationError
from meterseal.framing.items import Item
from meterseal.listener import Book, Receiver
from meterseal.meter import Meter, load_plan, write_credentials
from meterseal.meter.objects import Asker, Denied
from meterseal.meter.orders import Order
from meterseal.meter.plant import Moment
from meterseal.meter.profile_object import TURN, LoadProfile
from meterseal.meter.push import PushSetup
from meterseal.security.steps import settle
from meterseal.state import MemoryCounters
from tests.meter.world import NOON

PUSH = Obis("0.0.25.9.0.255")
PROFILE = Obis("1.0.99.1.0.255")
CONFIG = """[[objects]]
class = 40
obis = "0.0.25.9.0.255"
role = "operator"
push = [
    "40/0.0.25.9.0.255:1", "3/1.0.1.8.0.255:2", "3/1.0.1.8.0.255:3#2",
    "1/0.0.96.11.1.255:2", "1/0.0.9.9.9.255:2",
]
destination = "udp://127.0.0.1:4059"
writable = true
"""


class Clock:
    """Time that stands still until it is turned."""

    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


class Bench:
    """A meter whose orders are kept, and a receiver that has its credentials."""

    def __init__(
        self,
        folder: Path,
        text: str = "",
        *,
        state: Path | None = None,
        draw: Any = None,
        preset: str = "suite0",
        role: str = "operator",
    ) -> None:
        config = folder / "push.toml"
        config.write_text(CONFIG.replace("operator", role) + text)
        self.clock = Clock()
        options = {} if draw is None else {"draw": draw}
        self.meter = Meter(load_plan(preset, config), state, wall=self.clock, **options)
        self.orders: list[Order] = []
        self.meter.send = self.orders.append
        self.path = folder / "kitchen.toml"
        write_credentials(self.meter, self.path)
        held = self.meter.devices[1].objects[40, PUSH]
        assert isinstance(held, PushSetup)
        self.setup = held
        self.receiver = Receiver(Book(self.path, MemoryCounters()), MemoryCounters())

    def do(self, service: Service, member: int, data: Data | None = None, role: int = 1) -> int:
        """One operation of a client that is associated, by its result code."""
        association = self.meter.association(role, 1)
        assert association is not None
        operation = Operation(service, 40, PUSH, member, None, data)
        if not association.view.right(operation, None):
            return 3
        return settle(self.meter.perform(Asker(association, applied=3), [operation]))[0].code

    def call(self, method: int = 1) -> int:
        return self.do(Service.ACTION, method, Data.of(0, Tag.INTEGER))

    def received(self, order: Order) -> Any:
        (one,) = self.receiver.take([Item((), order.seal())], "meter")
        assert one.error is None, one.error
        return one


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda *args, **options: Bench(tmp_path, *args, **options)


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_push_is_sealed_under_its_role_and_opens_by_the_title(
    bench: Callable[..., Bench], version: int
) -> None:
    made = bench(f"version = {version}\n")
    assert made.call() == 0
    (order,) = made.orders
    assert (order.transport, order.destination, order.source, order.client) == (1, "127.0.0.1:4059", 1, 2)
    one = made.received(order)
    assert (one.meter, one.role, one.apdu) == ("kitchen", "operator", "data-notification")
    assert one.layers[0]["authenticated"] and one.layers[0]["encrypted"]
    assert isinstance(one.message, DataNotification) and len(one.message.date_time) == 12
    name, energy, unit, *rest = one.message.notification_body.value
    assert name == PUSH and energy > 0 and unit == 30
    assert rest == [None, None]  # the operator may not read the event code, and the last is not there


def test_a_whole_profile_is_made_a_few_rows_at_a_time_of_the_moment_it_was_ordered(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = bench()
    profile = made.meter.devices[1].objects[7, PROFILE]
    assert isinstance(profile, LoadProfile)
    monkeypatch.setattr(profile, "entries", 1000)
    make, counted = profile._make, [0]

    def counting(moment: Moment) -> Row:
        counted[0] += 1
        return make(moment)

    monkeypatch.setattr(profile, "_make", counting)
    names = [(7, PROFILE, 2), (8, Obis("0.0.1.0.0.255"), 2), (7, PROFILE, 7)]
    value = [(class_id, name, index, 0, (0, None)) for class_id, name, index in names]
    assert made.do(Service.SET, 2, Data.of(value, Array(definition(Tag.NULL)))) == 0
    assert made.call() == 0 and made.call() == 0
    first, second = made.orders
    assert counted == [2 * TURN]
    expected = list(profile.rows())
    made.clock.now += 10 * 900  # ten more rows, and the ten oldest are gone
    counted[0] = 0
    for number, _ in enumerate(first.making):
        assert counted[0] <= (number + 1) * TURN
    assert counted == [1000 - TURN]
    rows, clock, in_use = made.received(first).message.notification_body.value
    assert rows == expected and in_use == 1000
    assert DateTime.from_octets(clock).to_datetime().timestamp() == NOON
    next(iter(second.making))  # cut off behind some of it, the rest is made when it is sealed
    assert made.received(second).message.notification_body.value[0] == expected


def test_a_push_holds_nothing_that_its_role_may_not_read(bench: Callable[..., Bench]) -> None:
    """Who may write the list does not get at values of others by it."""
    made = bench()
    element = definition(Tag.NULL)
    names = [(15, "0.0.40.0.1.255", 7), (64, "0.0.43.0.1.255", 2), (3, "1.0.1.8.0.255", 2)]
    value = [(class_id, Obis(name), index, 0, (0, None)) for class_id, name, index in names]
    assert made.do(Service.SET, 2, Data.of(value, Array(element))) == 0
    made.call()
    body = made.received(made.orders[0]).message.notification_body.value
    assert body[:2] == (None, None) and body[2] > 0


def test_every_push_has_a_counter_of_its_own_also_after_a_restart(
    bench: Callable[..., Bench], tmp_path: Path
) -> None:
    seen: list[int] = []
    state = tmp_path / "state0"
    for number in range(1, 4):
        made = bench(state=state)
        for _ in range(4):
            made.call()
        seen += [made.received(order).layers[0]["invocation_counter"] for order in made.orders]
        # What a kill leaves: the folder as it stands now, before anything is closed.
        state = Path(copytree(state, tmp_path / f"state{number}"))
        made.meter.close()
    assert len(set(seen)) == 12 and seen == sorted(seen)


def test_numbers_of_pushes_count_up(bench: Callable[..., Bench]) -> None:
    made = bench()
    for _ in range(3):
        made.call()
    assert [made.received(o).message.long_invoke_id_and_priority for o in made.orders] == [1, 2, 3]


# --- when -----------------------------------------------------------------------------------------


def test_by_the_clock(bench: Callable[..., Bench]) -> None:
    made = bench("interval = 900\n")
    made.meter.routine.turn()
    assert not made.orders and made.setup.due == NOON + 900
    for step in (899, 1, 899, 1):
        made.clock.now += step
        made.meter.routine.turn()
    assert len(made.orders) == 2
    made.meter.plant.set_clock(NOON + 10_000)
    assert (made.setup.due + made.meter.plant.offset) % 900 == 0 < made.setup.due - made.clock.now <= 900


def test_windows_randomisation_and_delays(bench: Callable[..., Bench]) -> None:
    """Noon in the meter's zone; the window opens at 13:00 and 22:00."""
    made = bench(
        'windows = [["*-*-*T13:00:00", "*-*-*T14:00:00"], ["*-*-*T22:00:00", "*-*-*T06:00:00"]]\n'
        "retries = 3\nrepetition_delay = 7\n"
    )
    for hour, wait in ((0, 3600), (1, 0), (2, 8 * 3600), (10, 0), (17, 0), (18, 7 * 3600)):
        made.clock.now = NOON + hour * 3600
        made.call()
        assert made.orders[-1].start == wait, hour
    assert made.orders[0].delays == (7.0, 7.0, 7.0)


def test_randomisation_is_within_its_span(bench: Callable[..., Bench]) -> None:
    made = bench("randomisation = 60\n")
    for _ in range(50):
        made.call()
    starts = {order.start for order in made.orders}
    assert len(starts) > 40 and all(0 <= start < 60 for start in starts)


def test_delays_of_version_2_grow_up_to_the_most(bench: Callable[..., Bench]) -> None:
    made = bench("version = 2\nretries = 5\nrepetition_delay = [5, 200, 30]\n")
    made.call()
    assert made.orders[0].delays == (5.0, 10.0, 20.0, 30.0, 30.0)


# --- what is refused ------------------------------------------------------------------------------


def test_the_preset_meter_has_a_push_without_a_destination() -> None:
    meter = Meter(load_plan("suite0"), wall=Clock())
    held = meter.devices[1].objects[40, PUSH]
    assert isinstance(held, PushSetup) and held.version == 1
    with pytest.raises(Denied):
        held.push()
    meter.close()


def definition(value: Type) -> Structure:
    """An object_definition whose restriction holds such a value."""
    restriction = Structure((Tag.ENUM, value))
    return Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED, restriction))


def octets(text: str) -> Data:
    type_ = Structure((Tag.ENUM, Tag.OCTET_STRING, Tag.ENUM))
    transport, destination, message = text.split(",")
    return Data.of((int(transport), destination.encode(), int(message)), type_)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("0,10.0.0.1:4059,0", 0),
        ("1,[2001:db8::1]:4059,0", 0),
        ("0,,0", 0),
        ("2,10.0.0.1:4059,0", 0xFA),
        ("5,,0", 0),
        ("6,10.0.0.1:4059,0", 0xFA),
        ("0,10.0.0.1:4059,1", 0xFA),
        ("0,10.0.0.1,0", 0xFA),
        ("0,10.0.0.1:0,0", 0xFA),
        ("0,10.0.0.1:99999,0", 0xFA),
        ("0,:4059,0", 0xFA),
        ("0,\0:4059,0", 0xFA),
        ("1,10.0.0.1\n:4059,0", 0xFA),
        ("0,[zz]:4059,0", 0xFA),
        ("0,someone@10.0.0.1:4059,0", 0xFA),
        ("0,10.0.0.1/:4059,0", 0xFA),
        ("0,10.0.0.1:1?gateway=1/text:2,0", 0xFA),
        ("0,10.0.0.1:" + "1" * 5000 + ",0", 0xFA),
    ],
)
def test_F20_destinations(bench: Callable[..., Bench], text: str, code: int) -> None:
    made = bench()
    assert made.do(Service.SET, 3, octets(text)) == code
    assert made.call() == (0xFA if text == "0,,0" else 0)


def test_only_who_may_sets_it_up(bench: Callable[..., Bench]) -> None:
    made = bench()
    assert made.do(Service.SET, 3, octets("0,10.0.0.1:4059,0"), role=2) == 3
    assert made.do(Service.ACTION, 1, Data.of(0, Tag.INTEGER), role=3) == 3


@pytest.mark.parametrize(
    ("text", "about"),
    [
        ("version = 3\n", "version"),
        ("confirmed = true\n", "confirmed"),
        ("interval = 0\n", "interval"),
        ("retries = 300\n", "retries"),
        ('windows = [["never", "ever"]]\n', "communication_window"),
        ("repetition_delay = [1, 2, 3]\n", "repetition_delay"),
    ],
)
def test_configurations_that_cannot_be(bench: Callable[..., Bench], text: str, about: str) -> None:
    with pytest.raises(ConfigurationError, match=about):
        bench(text)


@pytest.mark.parametrize(
    ("old", "new", "about"),
    [
        ("udp://127.0.0.1:4059", "hdlc+tcp://127.0.0.1:4059", "destination"),
        ('role = "operator"', 'role = "public"', "role"),
        ('role = "operator"', 'role = "nobody"', "role"),
        ('role = "operator"\n', "", "role"),
        ("3/1.0.1.8.0.255:3#2", "3/1.0.1.8.0.255:3#0", "push"),
        ("3/1.0.1.8.0.255:3#2", "1.0.1.8.0.255", "push"),
    ],
)
def test_more_of_them(tmp_path: Path, old: str, new: str, about: str) -> None:
    config = tmp_path / "push.toml"
    assert old in CONFIG
    config.write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigurationError, match=about):
        Meter(load_plan("suite0", config), wall=Clock())


def test_a_profile_by_entry(tmp_path: Path) -> None:
    """A restriction cuts what is pushed of a buffer."""
    made = Bench(tmp_path)
    element = definition(Structure((Tag.DOUBLE_LONG_UNSIGNED, Tag.DOUBLE_LONG_UNSIGNED)))
    value = [(7, Obis("1.0.99.1.0.255"), 2, 0, (2, (1, 5)))]
    assert made.do(Service.SET, 2, Data.of(value, Array(element))) == 0
    made.call()
    (rows,) = made.received(made.orders[0]).message.notification_body.value
    assert len(rows) == 5


@pytest.mark.parametrize(
    ("restriction", "kind", "code"),
    [
        ((0, None), Tag.NULL, 0),
        ((1, (bytes(12), bytes(12))), Structure((Tag.OCTET_STRING, Tag.OCTET_STRING)), 0),
        ((1, (1, 2)), Structure((Tag.UNSIGNED, Tag.UNSIGNED)), 0xFA),
        ((2, (1, 5, 1, 2)), Structure((Tag.UNSIGNED,) * 4), 0xFA),
        ((2, (1, -5)), Structure((Tag.INTEGER, Tag.INTEGER)), 0xFA),
        ((2, None), Tag.NULL, 0xFA),
        ((3, None), Tag.NULL, 0xFA),
    ],
)
def test_a_restriction_of_a_list_means_what_it_means_in_class_30(
    bench: Callable[..., Bench], restriction: Any, kind: Type, code: int
) -> None:
    made = bench()
    value = [(7, Obis("1.0.99.1.0.255"), 2, 0, restriction)]
    assert made.do(Service.SET, 2, Data.of(value, Array(definition(kind)))) == code


# --- confirmed ------------------------------------------------------------------------------------


def test_a_confirmation_is_taken_under_the_keys_of_the_role_only(bench: Callable[..., Bench]) -> None:
    made = bench("version = 2\nconfirmed = true\n")
    made.call()
    (order,) = made.orders
    one = made.received(order)
    number = one.message.long_invoke_id_and_priority
    assert number == 1 | 1 << 30 and order.confirms is not None
    role = made.meter.plan.role("operator")
    assert role is not None and role.client_system_title is not None
    title = role.client_system_title
    ring = made.meter.rings[2]
    key = GcmKey(ring.reveal(0), ring.reveal(2))

    def answer(
        ic: int, invoke: int = number, sealing: GcmKey = key, sc: int = 0x30, plain: bytes = b""
    ) -> bytes:
        plain = plain or DataNotificationConfirm(invoke, b"").encode()
        content = (
            bytes((sc,)) + ic.to_bytes(4, "big") + sealing.seal(sc, title + ic.to_bytes(4, "big"), plain)
        )
        return b"\xdb\x08" + title + bytes((len(content),)) + content

    stranger = GcmKey(bytes(16), bytes(range(16)))
    for octets in (
        b"",
        DataNotificationConfirm(number, b"").encode(),
        answer(500, sealing=stranger),
        answer(501, invoke=2),
        answer(502, sc=0x20),
        order.seal(),
    ):
        assert not order.confirms(octets)
    assert ring.setup.unicast is not None
    before = ring.setup.unicast.rx.lowest
    request = bytes.fromhex("C001C100030100010800FF0200")  # on the meter's own line it is for an association
    assert not order.confirms(answer(550, plain=request)) and ring.setup.unicast.rx.lowest == before
    assert order.confirms(answer(600))
    assert not order.confirms(answer(600))
    shown = made.setup.readers[13](made.meter.routine.itself(made.meter.devices[1]))[0]
    assert shown[:2] == (2025).to_bytes(2, "big")
    assert apdu.name(one.plain) == "data-notification"
