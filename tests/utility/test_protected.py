"""COSEM data protection at the meter, asked by the utility through the methods that a head-end calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from meterseal.association import Operation, Service
from meterseal.codec import data as codec
from meterseal.codec.types import Array, Structure, Tag
from meterseal.crypto import AgreementKey, SigningKey, VerifyingKey
from meterseal.errors import Altered, MetersealError, Misuse, Refused, Replayed
from meterseal.meter import Party
from meterseal.meter.session import Session
from meterseal.security.data_protection import answered as swapped
from meterseal.security.data_protection import between, unprotecting_data
from meterseal.security.parameters import elements_value
from meterseal.security.steps import settle
from meterseal.state import MemoryCounters
from meterseal.utility.blocking import ProtectedMeter
from meterseal.utility.protected import ProtectedSession, _objects
from tests.utility.street import Street, street

OBJECT, ENERGY = "0.0.43.2.0.255", bytes.fromhex("0100010800FF")
MORE = """
[[objects]]
class = 30
obis = "0.0.43.2.0.255"
{required}

[[roles.operator.rights]]
objects = ["0.0.43.2.0.255"]
attributes = "read"
methods = "access"
[[roles.operator.rights]]
objects = ["0.0.96.1.10.255"]
attributes = "read write"
for = ["utility"]
"""
Calls = list[tuple[int, bytes, bytes | None]]


class Protecting:
    """A street with a class 30 object: what the head-end has seen, and what it makes of it."""

    def __init__(self, s: Street, **more: Any) -> None:
        self.street, self.calls = s, Calls()
        self.tamper: Callable[[int, Any], Any] = lambda method, answer: answer
        self.before: Callable[[int, bytes], bytes] = lambda method, data: data
        credentials = s.credentials.cut_third_party("utility")
        self.utility = ProtectedMeter(credentials, self._act, counters=MemoryCounters(), **more)
        session: Any = self.utility._session
        self.session: ProtectedSession = session

    def _act(self, class_id: int, instance: bytes, method: int, data: bytes) -> bytes | None:
        answer = self.street.carrier.action(class_id, instance, method, self.before(method, data))
        self.calls.append((method, data, answer))
        changed: bytes | None = self.tamper(method, answer)
        return changed


@contextmanager
def protecting(folder: Path, suite: int = 1, required: str = "", **more: Any) -> Iterator[Protecting]:
    with street(folder, suite, more=MORE.format(required=required), **more) as s:
        yield Protecting(s)


@pytest.mark.parametrize("suite", [0, 1, 2])
def test_reads_writes_and_calls_in_protected_values(tmp_path: Path, suite: int) -> None:
    with protecting(tmp_path, suite) as p:
        energy = p.utility.read("1.0.1.8.0.255")
        assert isinstance(energy.value, Decimal) and energy.unit == "Wh"
        p.utility.write("1/0.0.96.1.10.255:2", b"MP31 a secret of the customer", "os")
        assert p.utility.read("1/0.0.96.1.10.255:2").value == b"MP31 a secret of the customer"
        p.utility.call("70/0.0.96.3.10.255:1")
        assert [method for method, _, _ in p.calls] == [1, 2, 1, 3]
        assert not p.street.meter.plant.connected
        seen = b"".join(data + (answer or b"") for _, data, answer in p.calls)
        assert b"secret of the customer" not in seen and energy.raw[1:] not in seen


@pytest.mark.parametrize("form", ["static", "one-pass"])
def test_profiles_by_entries(tmp_path: Path, form: str) -> None:
    with protecting(tmp_path) as p:
        p.session.third = p.street.credentials.third_party("utility")

        p.session.third = replace(p.session.third, layers=form)
        rows = p.utility.profile("1.0.99.1.0.255", entries=(1, 20))
        assert len(rows) == 20
        assert all(row[2].to_bytes(4, "big") not in (p.calls[-1][2] or b"") for row in rows.cells)


def test_E02_answers_that_a_carrier_changes_or_repeats(tmp_path: Path) -> None:
    with protecting(tmp_path) as p:
        good = p.utility.read("3/1.0.1.8.0.255:2")
        kept = p.calls[-1][2]
        p.tamper = lambda method, answer: kept
        with pytest.raises((Altered, Replayed)):
            p.utility.read("3/1.0.1.8.0.255:2")
        for at in (-1, -80, -90, 40, 60, 5):
            p.tamper = partial(_flipping, at)
            with pytest.raises(MetersealError) as caught:
                p.utility.read("3/1.0.1.8.0.255:2")
            assert not isinstance(caught.value, Misuse)
        p.tamper = lambda method, answer: None
        with pytest.raises(Altered):
            p.utility.read("3/1.0.1.8.0.255:2")
        p.tamper = lambda method, answer: answer
        assert p.utility.read("3/1.0.1.8.0.255:2").value >= good.value


def _flipping(at: int, method: int, answer: bytes) -> bytes:
    return _flipped(answer, at)


def _flipped(octets: bytes, at: int) -> bytes:
    changed = bytearray(octets)
    changed[at] ^= 1
    return bytes(changed)


def test_E02_E05_requests_that_a_carrier_changes_or_repeats_are_not_done(tmp_path: Path) -> None:
    """One answer for every cause; the switch stays as it is."""
    with protecting(tmp_path) as p:
        p.utility.call("70/0.0.96.3.10.255:2")
        _, kept, _ = p.calls[-1]
        codes = set()
        with pytest.raises(Refused) as caught:
            p.street.carrier.action(30, OBJECT, 3, kept)
        codes.add(caught.value.code)
        for at in range(2, len(kept), 7):
            try:
                p.street.carrier.action(30, OBJECT, 3, _flipped(kept, at))
            except Refused as error:
                codes.add(error.code)
            except MetersealError:
                continue  # no A-XDR any more
            else:
                raise AssertionError(f"octet {at} changed, and the meter did something")
        assert codes <= {0xFA, 0x0C, 4}, codes
        assert p.street.meter.plant.connected


def test_E11_what_the_third_party_or_the_association_may_not_stays_closed(tmp_path: Path) -> None:
    with protecting(tmp_path) as p:
        for hidden in (
            "1/0.0.97.97.0.255:2",
            "30/0.0.43.2.0.255:6",
            "15/0.0.40.0.0.255:2",
            "64/0.0.43.0.1.255:2",
        ):
            with pytest.raises(Refused):
                p.utility.read(hidden)
        with pytest.raises(Refused):
            p.utility.write("3/1.0.1.8.0.255:2", 0, "u32")


def test_E07_required_protection_only_grows(tmp_path: Path) -> None:
    with protecting(tmp_path, role="manager") as p:
        manager = p.street.carrier
        both, stronger = 0x6C, 0xFC
        manager.write(f"30/{OBJECT}:6", both)
        for weaker in (0, 0x0C, 0x60, 0x6C ^ 4, 0x6F):
            with pytest.raises(Refused):
                manager.write(f"30/{OBJECT}:6", weaker)
        p.utility.read("3/1.0.1.8.0.255:2")
        manager.write(f"30/{OBJECT}:6", stronger)
        with pytest.raises(Refused):
            manager.write(f"30/{OBJECT}:6", both)
        assert manager.read(f"30/{OBJECT}:6").value == stronger
        p.utility.read("3/1.0.1.8.0.255:2")  # it signs: that is enough


def test_E06_less_than_is_required_is_refused(tmp_path: Path) -> None:
    with protecting(tmp_path, required='required_protection = "authenticated+encrypted+signed"') as p:
        p.utility.read("3/1.0.1.8.0.255:2")
        p.session.applied = 3
        for ask in (
            lambda: p.utility.read("3/1.0.1.8.0.255:2"),
            lambda: p.utility.call("70/0.0.96.3.10.255:1"),
        ):
            with pytest.raises(Refused) as caught:
                ask()
            assert caught.value.code == 0x0D
        assert p.street.meter.plant.connected


def test_E06_parameters_empty_doubled_many_or_of_others(tmp_path: Path) -> None:

    with protecting(tmp_path) as p:
        p.utility.read("3/1.0.1.8.0.255:2")
        signature, cipher = p.session._elements(b"")
        objects = [(3, bytes.fromhex("0100010800FF"), 2, 0, (0, None))]
        listed = Structure((Tag.LONG_UNSIGNED, Tag.OCTET_STRING, Tag.INTEGER, Tag.LONG_UNSIGNED,
                            Structure((Tag.ENUM, Tag.NULL))))  # fmt: skip
        stranger = cipher._replace(layer=cipher.layer._replace(originator=b"MSLUTI99"))
        elsewhere = cipher._replace(layer=cipher.layer._replace(recipient=b"MSL99999"))
        wrongs: tuple[tuple[Any, ...], ...] = (
            (), (cipher, cipher), (cipher, signature), (cipher,) * 100,
            (stranger,), (elsewhere,), (signature, stranger),
        )  # fmt: skip
        for wrong in wrongs:
            value, type_ = elements_value(wrong) if wrong else ([], Array(Tag.NULL))
            given = codec.encode((objects, value), Structure((Array(listed), type_)))
            with pytest.raises(Refused):
                p.street.carrier.action(30, OBJECT, 1, given)


def test_the_buffer_holds_what_the_parameters_say(tmp_path: Path) -> None:
    with protecting(tmp_path, role="manager") as p:
        manager, session = p.street.carrier, p.session
        session.third = replace(session.third, layers="static")
        elements = session._elements(b"")
        asked = (Operation(Service.GET, 3, bytes.fromhex("0100010800FF"), 2),)
        manager.set(30, OBJECT, 3, codec.encode(*_objects(asked)))
        manager.set(30, OBJECT, 4, codec.encode(*elements_value(elements)))
        octets = codec.decode(manager.get(30, OBJECT, 2))
        opened = settle(unprotecting_data(between(session.context), swapped(elements), octets))
        assert opened.plain.startswith(b"\x02\x01\x06")
        assert codec.decode(manager.get(30, OBJECT, 4)) == elements_value(elements)[0]
        # Set up the other way round, as the answer will be, it is the same.
        manager.set(30, OBJECT, 4, codec.encode(*elements_value(swapped(elements))))
        octets = codec.decode(manager.get(30, OBJECT, 2))
        opened = settle(unprotecting_data(between(session.context), swapped(elements), octets))
        assert opened.plain.startswith(b"\x02\x01\x06")


class AtTheMeter:
    """Curve work of a meter, by name: what was done in its jobs, and what outside of them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.in_jobs, self.outside, self._handling, self._working = (
            Counter[str](),
            Counter[str](),
            False,
            False,
        )
        for key, verb in ((SigningKey, "sign"), (VerifyingKey, "verify"), (AgreementKey, "agree")):
            patch.setattr(key, verb, self._noting(verb, getattr(key, verb)))
        patch.setattr(AgreementKey, "generate", self._noting("generate", AgreementKey.generate))
        patch.setattr(Session, "received", self._while("_handling", Session.received))
        party = Party.__init__
        patch.setattr(Party, "__init__", lambda made, meter, timer: party(made, meter, timer, self._compute))

    def _noting(self, verb: str, call: Any) -> Any:
        def noted(*given: Any) -> Any:
            if self._handling:
                (self.in_jobs if self._working else self.outside)[verb] += 1
            return call(*given)

        return noted

    def _while(self, what: str, call: Any) -> Any:
        def during(*given: Any) -> Any:
            setattr(self, what, True)
            try:
                return call(*given)
            finally:
                setattr(self, what, False)

        return during

    def _compute(self, job: Any, then: Any, broken: Any) -> None:
        then(self._while("_working", job)())


@pytest.mark.parametrize("form", ["static", "one-pass"])
def test_curve_work_on_protected_values_is_done_in_jobs(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    at = AtTheMeter(monkeypatch)
    with protecting(tmp_path, role="manager") as p:
        session, manager = p.session, p.street.carrier
        session.third = replace(session.third, layers=form)
        at.in_jobs.clear()  # what signing on took
        p.utility.read("1/0.0.96.1.10.255:2")
        seen = [at.in_jobs.copy()]
        p.utility.write("1/0.0.96.1.10.255:2", b"AB", "os")
        seen.append(at.in_jobs.copy())
        p.utility.call("70/0.0.96.3.10.255:1")
        seen.append(at.in_jobs.copy())
        elements = session._elements(b"")
        manager.set(30, OBJECT, 3, codec.encode(*_objects((Operation(Service.GET, 3, ENERGY, 2),))))
        manager.set(30, OBJECT, 4, codec.encode(*elements_value(elements)))
        for _ in range(3):  # what is read again and again is done in jobs again
            manager.get(30, OBJECT, 2)
            seen.append(at.in_jobs.copy())
    assert not at.outside
    assert all(later["agree"] > before["agree"] for before, later in pairwise(seen))


def test_E03_a_value_is_not_for_another_object(tmp_path: Path) -> None:
    """Who carries names another object around the same layers: found out by what they say inside."""
    on, off, import_, export = b"\x0f\x02", b"\x0f\x01", "0100010800FF", "0100020800FF"

    def other(method: int, data: bytes) -> bytes:
        if method == 3:  # reconnect in place of disconnect
            return data.replace(bytes.fromhex("000060030AFF") + off, bytes.fromhex("000060030AFF") + on)
        return data.replace(bytes.fromhex(import_), bytes.fromhex(export))

    with protecting(tmp_path) as p:
        p.before = other
        with pytest.raises(Refused):
            p.utility.call("70/0.0.96.3.10.255:1")
        with pytest.raises(Refused):
            p.utility.read("3/1.0.1.8.0.255:2")
        p.before = lambda method, data: data
        p.utility.call("70/0.0.96.3.10.255:1")
        assert not p.street.meter.plant.connected
