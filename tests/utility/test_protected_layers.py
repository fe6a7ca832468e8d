"""Data protection whole: several parties' layers, several methods, the buffer under keys made for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from meterseal.association import Operation, Service
from meterseal.codec import data as codec
from meterseal.codec.data import Data
from meterseal.codec.types import Array, Structure, Tag
from meterseal.errors import Altered, MetersealError, Misuse, Refused
from meterseal.meter.data_protection import DataProtection
from meterseal.security import AUTHENTICATED, ENCRYPTED, SIGNED
from meterseal.security.data_protection import answered, between, protecting_data, unprotecting_data
from meterseal.security.parameters import Element, elements_value, read_elements
from meterseal.security.steps import settle
from meterseal.state import MemoryCounters
from meterseal.utility.blocking import ProtectedMeter
from meterseal.utility.protected import ProtectedSession, _objects
from tests.utility.street import WRAPPED, Street, street

OBJECT = "0.0.43.2.0.255"
ENERGY, SWITCH, POINT, CLOCK = (
    bytes.fromhex(name) for name in ("0100010800FF", "000060030AFF", "000060010AFF", "0000010000FF")
)
MORE = """
[third_parties.desk]   # works for the utility, and may do less
system_title = "4D534C4445534B31"
{peer}
[[third_parties.desk.rights]]
objects = ["1.0.1.8.0.255", "0.0.96.3.10.255", "0.0.96.1.10.255"]
attributes = "read write"
methods = "access"

[[roles.operator.rights]]
objects = ["0.0.96.3.10.255"]
methods = "access{signed}"
for = ["desk"]
[[roles.operator.rights]]
objects = ["0.0.96.1.10.255"]
attributes = "read write"
for = ["utility", "desk"]
[[roles.operator.rights]]
objects = ["0.0.43.2.0.255"]
attributes = "read write"
methods = "access"
"""


class Two:
    """A street with two third parties, `inner` and `outer`: the latter's layers go around, unless `alone`."""

    def __init__(self, s: Street) -> None:
        self.street, self.tamper = s, _as_it_is
        self.calls: list[tuple[int, bytes, bytes | None]] = []
        self.outer = self.party("desk", self._act)
        self.inner = self.party("utility", self._on)
        self.alone = False

    def party(self, name: str, act: Callable[..., bytes | None]) -> ProtectedMeter:
        credentials = self.street.credentials.cut_third_party(name)
        return ProtectedMeter(credentials, act, counters=MemoryCounters(), timeout=30.0)

    def _on(self, class_id: int, instance: bytes, method: int, data: bytes) -> bytes | None:
        act = self._act if self.alone else self.outer.around
        return act(class_id, instance, method, data)

    @contextmanager
    def by_itself(self) -> Iterator[ProtectedMeter]:
        """The inner party, nobody's layers around its own; its counters are at hand."""
        self.alone = True
        self.inner._run(session(self.inner).counting.ensure(16))
        yield self.inner
        self.alone = False

    def _act(self, class_id: int, instance: bytes, method: int, data: bytes) -> bytes | None:
        answer = self.street.carrier.action(class_id, instance, method, data)
        self.calls.append((method, data, answer))
        return self.tamper(answer)


def _as_it_is(answer: bytes | None) -> bytes | None:
    return answer


def session(meter: ProtectedMeter) -> ProtectedSession:
    return meter._session


def configuration(suite: int) -> str:
    peer = "" if suite else WRAPPED.replace("utility", "desk")
    return MORE.format(peer=peer, signed=" sign-request" if suite else "")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with street(tmp_path_factory.mktemp("street"), 1, more=configuration(1)) as s:
        yield Two(s)


@pytest.fixture(scope="module")
def wrapped(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with street(tmp_path_factory.mktemp("street"), 0, more=configuration(0)) as s:
        yield Two(s)


@pytest.mark.parametrize("name", ["two", "wrapped"])
def test_layers_of_two_parties_around_one_value(name: str, request: pytest.FixtureRequest) -> None:
    both: Two = request.getfixturevalue(name)
    assert both.inner.read("3/1.0.1.8.0.255:2").value >= 0
    both.inner.write("1/0.0.96.1.10.255:2", b"MP31", "os")
    assert both.inner.read("1/0.0.96.1.10.255:2").value == b"MP31"
    for method, supplied in ((1, False), (2, True)):
        both.inner.call(f"70/0.0.96.3.10.255:{method}")
        assert both.street.meter.plant.connected is supplied
    parameters, _ = codec.decode(both.calls[-1][2] or b"")
    mine = both.street.meter.system_title
    told = [(one.layer.originator, one.layer.recipient[-8:]) for one in read_elements(parameters)]
    each = 2 if name == "two" else 1
    titles = [session(both.inner).setup.own_title] * each + [session(both.outer).setup.own_title] * each
    assert told == [(mine, title) for title in titles], "mirrored, each for whose it was"


def test_E11_two_parties_may_do_what_both_may(two: Two) -> None:
    """The utility may read the clock, the desk may not: alone it may, through the desk it may not."""
    with two.by_itself() as alone:
        assert alone.read("8/0.0.1.0.0.255:2").raw
    with pytest.raises(Refused):
        two.inner.read("8/0.0.1.0.0.255:2")


def test_E02_what_the_outer_party_hands_on_is_found_out(two: Two) -> None:
    """It can take its own layers off, and change nothing of what is in the others."""

    def cut(answer: bytes | None) -> bytes | None:
        parameters, octets = codec.decode(answer or b"")
        elements = read_elements(parameters)
        value, type_ = elements_value(elements[:2])
        return codec.encode((value, octets), Structure((type_, Tag.OCTET_STRING)))

    two.tamper = cut
    with pytest.raises(Altered):
        two.inner.read("3/1.0.1.8.0.255:2")
    two.tamper = _as_it_is
    assert two.inner.read("3/1.0.1.8.0.255:2").raw


def test_the_layers_go_around_a_call_and_nothing_else(two: Two) -> None:
    for data in (b"", b"\x00", b"\x02\x00", codec.encode((1, 2, 3), Structure((Tag.INTEGER,) * 3))):
        with pytest.raises(Misuse):
            two.outer.around(30, bytes.fromhex("00002B0200FF"), 3, data)
    with pytest.raises(Misuse, match="same data protection object"):
        two.outer.around(3, ENERGY, 1, b"\x00")


# --- by hand: mixes that nobody's session makes -------------------------------------------------------


def elements_of(meter: ProtectedMeter) -> tuple[Element, ...]:
    return session(meter)._elements(b"")


def invoke(both: Two, method: int, given: Any, elements: tuple[Element, ...], plain: bytes) -> Any:
    """A call of the object with these layers around `plain`; counters of both parties are at hand."""
    contexts = {}
    for at in (both.inner, both.outer):
        contexts[session(at).setup.own_title] = session(at).context
        at._run(session(at).counting.ensure(4))
    octets, made = plain, []
    for one in elements:
        context = contexts[one.layer.originator]
        (done,), octets = settle(protecting_data(between(context), (one,), octets))
        made.append(done)
    value, type_ = elements_value(made)
    named, named_type = given
    data = codec.encode((named, value, octets), Structure((named_type, type_, Tag.OCTET_STRING)))
    return both.street.carrier.action(30, OBJECT, method, data)


MEMBER = Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER))
OFF = ((70, SWITCH, 1), MEMBER)
ZERO = b"\x0f\x00"


def test_E06_orders_that_no_party_could_have_made(two: Two) -> None:
    us, uc = elements_of(two.inner)
    ds, dc = elements_of(two.outer)
    wrongs: tuple[tuple[Element, ...], ...] = (
        (us, ds, uc, dc), (us, ds, uc), (us, dc, uc), (uc, us), (us, uc, us, uc), (us, uc, dc, dc),
        (us, uc, dc, ds), (us, uc, ds, dc, us), (us, uc) * 4,
    )  # fmt: skip
    for wrong in wrongs:
        with pytest.raises(MetersealError):
            invoke(two, 3, OFF, wrong, ZERO)
    assert two.street.meter.plant.connected


def test_E02_a_party_that_signs_only_is_no_party_to_a_deed(two: Two) -> None:
    """Whoever was handed a bare signature could hand it on again under counters of its own."""
    us, uc = elements_of(two.inner)
    ds, dc = elements_of(two.outer)
    for mix in ((us, ds, dc), (us, dc), (us, uc, ds), (us,)):
        with pytest.raises(Refused) as caught:
            invoke(two, 3, OFF, mix, ZERO)
        assert caught.value.code == 0x0D
    assert two.street.meter.plant.connected
    # To a reading there is no deed: the mixes are answered as they were asked.
    objects = [(3, ENERGY, 2, 0, (0, None))]
    listed = Array(Structure((*MEMBER.fields, Tag.LONG_UNSIGNED, Structure((Tag.ENUM, Tag.NULL)))))
    for mix in ((us, ds, dc), (us, uc, dc), (uc, dc), (uc, ds, dc)):
        value, type_ = elements_value(mix)
        data = codec.encode((objects, value), Structure((listed, type_)))
        told, octets = codec.decode(two.street.carrier.action(30, OBJECT, 1, data) or b"")
        back = read_elements(told)
        assert tuple(one._replace(key_data=b"") for one in back) == answered(mix)
        for one in reversed(back):
            at = two.inner if one.layer.recipient == session(two.inner).setup.own_title else two.outer
            context = session(at).context
            found = settle(unprotecting_data(between(context), (one,), octets))
            found.commit()
            octets = found.plain
        assert octets[:3] == b"\x02\x01\x06"


def test_E06_a_third_party_says_for_itself_what_its_right_asks(two: Two) -> None:
    """The utility's right to the switch asks for its signature: the desk's signature is not that."""
    _, uc = elements_of(two.inner)
    ds, dc = elements_of(two.outer)
    with pytest.raises(Refused) as caught:
        invoke(two, 3, OFF, (uc, ds, dc), ZERO)
    assert caught.value.code == 0x0D and two.street.meter.plant.connected


def test_E06_E07_less_than_required_is_refused_in_every_mix(two: Two) -> None:
    """Every required_protection against every mix: what the layers apply taken together has to reach it."""
    held = two.street.meter.devices[1].objects[30, bytes.fromhex("00002B0200FF")]
    assert isinstance(held, DataProtection)
    us, uc = elements_of(two.inner)
    ds, dc = elements_of(two.outer)
    weak = uc._replace(applied=AUTHENTICATED)
    listed = Array(Structure((*MEMBER.fields, Tag.LONG_UNSIGNED, Structure((Tag.ENUM, Tag.NULL)))))
    objects = [(3, ENERGY, 2, 0, (0, None))]
    before = held.values[6]
    for mix in ((weak,), (uc,), (weak, dc), (us, weak), (us, uc), (weak, ds, dc), (uc, ds)):
        applied = 0
        for one in mix:
            applied |= one.applied
        value, type_ = elements_value(mix)
        data = codec.encode((objects, value), Structure((listed, type_)))
        for wanted in range(8):
            held.values[6] = (wanted << 5, Tag.ENUM)
            taken = True
            try:
                two.street.carrier.action(30, OBJECT, 1, data)
            except Refused as error:
                assert error.code == 0x0D
                taken = False
            assert taken == (not wanted & ~applied), (mix, wanted)
    for wanted in range(8):
        held.values[6] = (wanted << 2, Tag.ENUM)
        for mix, applied in (
            ((uc,), AUTHENTICATED | ENCRYPTED),
            ((us, uc), AUTHENTICATED | ENCRYPTED | SIGNED),
        ):
            done = _done(two, mix)
            assert done == (not wanted & ~applied), (mix, wanted)
    held.values[6] = before


def _done(two: Two, mix: tuple[Element, ...]) -> bool:
    """Is a write in these layers done?"""
    listed = Array(Structure((*MEMBER.fields, Tag.LONG_UNSIGNED, Structure((Tag.ENUM, Tag.NULL)))))
    try:
        invoke(two, 2, ([(1, POINT, 2, 0, (0, None))], listed), mix, b"\x02\x01\x09\x01\x07")
    except Refused as error:
        assert error.code == 0x0D
        return False
    return True


# --- several methods, lists and structures ----------------------------------------------------------------


def test_several_methods_in_one_call(two: Two) -> None:
    off, on = (Operation(Service.ACTION, 70, SWITCH, at, None, Data.of(0, Tag.INTEGER)) for at in (1, 2))
    hidden = Operation(Service.ACTION, 64, bytes.fromhex("00002B0001FF"), 1, None, Data.of(0, Tag.ENUM))
    for direct in (True, False):
        two.alone = direct
        two.inner._run(session(two.inner).ask((off, on)))
        assert two.street.meter.plant.connected and two.calls[-1][0] == 3
        with pytest.raises(Refused):
            two.inner._run(session(two.inner).ask((off, hidden)))
    assert two.street.meter.plant.connected, "all are looked at before the first is done"


def test_lists_that_do_not_fit_their_values(two: Two) -> None:
    us, uc = elements_of(two.inner)
    several: Any = ([(70, SWITCH, 1), (70, SWITCH, 2)], Array(MEMBER))
    for plain in (b"\x02\x01" + ZERO, b"\x02\x03" + ZERO * 3, b"\x02\x00", ZERO, b"", b"\x02\x02" + ZERO):
        with pytest.raises(Refused):
            invoke(two, 3, several, (us, uc), plain)
    with pytest.raises(Refused):
        invoke(two, 3, ([], Array(MEMBER)), (us, uc), b"\x02\x00")
    with pytest.raises(Refused):
        invoke(two, 3, ([(70, SWITCH, 1)] * 33, Array(MEMBER)), (us, uc), b"\x02\x21" + ZERO * 33)
    assert two.street.meter.plant.connected
    # A list says the same as a structure, for methods and for values.
    assert invoke(two, 3, several, (us, uc), b"\x01\x02" + ZERO * 2)
    listed = Array(Structure((*MEMBER.fields, Tag.LONG_UNSIGNED, Structure((Tag.ENUM, Tag.NULL)))))
    invoke(two, 2, ([(1, POINT, 2, 0, (0, None))], listed), (us, uc), b"\x01\x01\x09\x02\xab\xcd")
    assert two.inner.read("1/0.0.96.1.10.255:2").raw == b"\x09\x02\xab\xcd"


# --- the buffer --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "form"), [("two", "one-pass"), ("wrapped", "wrapped"), ("two", "static")])
def test_the_buffer_under_keys_made_for_it(name: str, form: str, request: pytest.FixtureRequest) -> None:
    both: Two = request.getfixturevalue(name)
    with both.by_itself():
        carrier, own = both.street.carrier, session(both.inner)
    before, own.third = own.third, replace(own.third, layers=form)
    elements = own._elements(b"")
    asked = (Operation(Service.GET, 1, POINT, 2),)
    carrier.set(30, OBJECT, 3, codec.encode(*_objects(asked)))
    carrier.set(30, OBJECT, 4, codec.encode(*elements_value(elements)))
    assert carrier.get(30, OBJECT, 4) == codec.encode(*elements_value(elements)), "as written"
    values = []
    for _ in range(2):
        octets = codec.decode(carrier.get(30, OBJECT, 2))
        told = read_elements(codec.decode(carrier.get(30, OBJECT, 4)))
        if form == "static":
            told = answered(told)  # nothing to tell: as it was written
        assert tuple(one._replace(key_data=b"") for one in told) == answered(elements)
        assert any(one.key_data for one in told) == (form != "static")
        found = settle(unprotecting_data(between(own.context), told, octets))
        found.commit()
        values.append((octets, told[-1].key_data))
        assert found.plain[:3] == b"\x02\x01\x09"
    assert values[0] != values[1], "a new key, or a new counter, for every reading"
    # Writing: the parameters bring the key, then comes the value; once.
    made, octets = settle(
        protecting_data(between(own.context), own._elements(b""), b"\x02\x01\x09\x02\x01\x02")
    )
    carrier.set(30, OBJECT, 5, codec.encode(*elements_value(made)))
    carrier.set(30, OBJECT, 2, codec.encode(octets, Tag.OCTET_STRING))
    assert carrier.get(30, OBJECT, 5) == codec.encode(*elements_value(made))
    with pytest.raises(Refused):
        carrier.set(30, OBJECT, 2, codec.encode(octets, Tag.OCTET_STRING))
    own.third = before
    assert both.inner.read("1/0.0.96.1.10.255:2").raw == b"\x09\x02\x01\x02"


def test_a_buffer_that_nothing_is_set_up_for(tmp_path: Path) -> None:
    with street(tmp_path, 0, more=configuration(0)) as s:
        assert codec.decode(s.carrier.get(30, OBJECT, 2)) == b""
        assert codec.decode(s.carrier.get(30, OBJECT, 4)) == codec.decode(s.carrier.get(30, OBJECT, 5)) == []
        with pytest.raises(Refused) as caught:
            s.carrier.set(30, OBJECT, 2, codec.encode(b"\x02\x00", Tag.OCTET_STRING))
        assert caught.value.code == 0x0D
