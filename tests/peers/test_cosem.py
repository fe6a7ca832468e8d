"""dlms-cosem as head-end of our meter: every role, what it reads, writes and calls."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from dlms_cosem import dlms_data, enumerations, utils
from dlms_cosem.client import ActionError, DataResultError
from dlms_cosem.cosem import CosemAttributeWithSelection
from dlms_cosem.cosem.capture_object import CaptureObject
from dlms_cosem.cosem.selective_access import RangeDescriptor
from dlms_cosem.exceptions import DlmsClientException
from dlms_cosem.parsers import AssociationObjectListParser, ProfileGenericBufferParser
from dlms_cosem.protocol import xdlms
from dlms_cosem.time import datetime_from_bytes, datetime_to_bytes

from meterseal.client.typed import to_selection
from meterseal.cosem.selection import ByEntry
from tests.peers import cosem
from tests.peers.cosem import attribute, method
from tests.peers.house import House

ENERGY, CLOCK, PROFILE = "1.0.1.8.0.255", "0.0.1.0.0.255", "1.0.99.1.0.255"
DEVICE, POINT, SWITCH = "0.0.42.0.0.255", "0.0.96.1.10.255", "0.0.96.3.10.255"
LIST = "0.0.40.0.0.255"
SILENT = "NO_REASON_GIVEN"
SMALL = 300
"""Octets of an APDU that force object list and profile into blocks."""


class Entries:
    """Entries of a profile as the peer's requests carry a selection: by its octets."""

    def __init__(self, first: int, last: int) -> None:
        selection = to_selection(ByEntry(first, last))
        assert selection is not None
        self.octets = bytes((selection.access_selector,)) + selection.access_parameters.raw

    def to_bytes(self) -> bytes:
        return self.octets


def plain(octets: bytes) -> Any:
    """A value as the peer decodes it."""
    return utils.parse_as_dlms_data(octets)


def instant(octets: bytes) -> datetime:
    """A time of the peer's as one of UTC."""
    found: datetime = datetime_from_bytes(octets)[0].astimezone(UTC)
    return found


def parser() -> Any:
    """The peer's reader of the load profile."""
    columns = [attribute(8, CLOCK), attribute(1, "0.0.96.10.1.255"), attribute(3, ENERGY)]
    return ProfileGenericBufferParser([*columns, attribute(3, "1.0.2.8.0.255")], 15)


def rows(octets: bytes) -> list[tuple[Any, ...]]:
    """Rows of the peer's with their times as of UTC."""
    found = [[column.value for column in row] for row in parser().parse_bytes(octets)]
    return [(row[0].astimezone(UTC), *row[1:]) for row in found]


def our_rows(found: Any) -> list[tuple[Any, ...]]:
    """Rows of our own client in the same form."""
    return [(row[0].to_datetime().astimezone(UTC), *map(int, row[1:])) for row in found]


@pytest.mark.parametrize("max_pdu", [0xFFFF, SMALL])
def test_a_whole_session(meter: House, max_pdu: int) -> None:
    with meter.ours("operator") as ours:
        energy, clock = ours.read(ENERGY), ours.read(CLOCK)
        entries = list(ours.object_list())
        some = ours.profile(PROFILE, entries=(100, 160))
    client = cosem.make(meter, meter.role("operator"), max_pdu_size=max_pdu)
    with cosem.connected(client):
        client.associate()
        assert client.dlms_connection.meter_system_title == meter.credentials.meter.system_title
        assert plain(client.get(attribute(3, ENERGY))) >= energy.value
        assert plain(client.get(attribute(3, ENERGY, 3))) == [0, 30]
        now = instant(plain(client.get(attribute(8, CLOCK))))
        assert timedelta(0) <= now - clock.value.to_datetime() < timedelta(minutes=5)
        listed = AssociationObjectListParser.parse_bytes(client.get(attribute(15, LIST)))
        assert [(o.interface, o.version, o.logical_name.to_bytes()) for o in listed] == [
            (o.class_id, o.version, bytes(o.obis)) for o in entries
        ]
        start, end = some[10][0].to_datetime(), some[40][0].to_datetime()
        by_range = RangeDescriptor(CaptureObject(attribute(8, CLOCK)), start, end)
        assert rows(client.get(attribute(7, PROFILE), by_range)) == our_rows(some[10:41])
        by_entry = rows(client.get(attribute(7, PROFILE), Entries(100, 160)))
        assert by_entry == our_rows(some) or by_entry[:-1] == our_rows(some)[1:]
        released = client.release_association()
    assert released.reason == enumerations.ReleaseResponseReason.NORMAL
    assert released.user_information is not None
    with meter.ours("operator") as ours:
        assert ours.read(ENERGY).value >= energy.value


def test_answers_of_the_small_client_come_in_blocks(meter: House, monkeypatch: pytest.MonkeyPatch) -> None:
    received: list[int] = []
    with cosem.associated(meter, "operator", max_pdu_size=SMALL) as client:
        take = client.transport.send_request

        def count(octets: bytes) -> bytes:
            answer: bytes = take(octets)
            received.append(len(answer))
            return answer

        monkeypatch.setattr(client.transport, "send_request", count)
        client.get(attribute(15, LIST))
        assert len(received) > 3 and max(received) <= SMALL
        received.clear()
        client.get(attribute(7, PROFILE), Entries(1, 60))
        assert len(received) > 5 and max(received) <= SMALL


def test_a_list(meter: House) -> None:
    with meter.ours("operator") as ours:
        device, point = ours.read(DEVICE).value, ours.read(POINT).value
    wanted = [
        attribute(1, DEVICE),
        attribute(3, "1.0.9.9.9.255"),
        attribute(1, POINT),
        attribute(3, ENERGY, 3),
    ]
    with cosem.associated(meter, "operator") as client:
        answer = client.get_many([CosemAttributeWithSelection(one, None) for one in wanted])
    assert answer.result == [device, enumerations.DataAccessResult.OBJECT_UNDEFINED, point, [0, 30]]


def result(request: Callable[[], Any]) -> str:
    """The result of a request of any kind, by the peer's name for it."""
    try:
        answer = request()
    except (DataResultError, ActionError) as error:
        (name,) = re.findall("[A-Z_]{5,}", str(error))
        return str(name)
    return str(answer.result.name) if isinstance(answer, xdlms.SetResponseNormal) else DONE


UNDEFINED, DENIED, DONE = "OBJECT_UNDEFINED", "READ_WRITE_DENIED", "SUCCESS"


@pytest.mark.parametrize(
    ("name", "codes"),
    [
        ("public", (UNDEFINED, UNDEFINED, UNDEFINED)),
        ("operator", (DONE, DENIED, DENIED)),
        ("installer", (UNDEFINED, DONE, DENIED)),
        ("manager", (DONE, DONE, DONE)),
    ],
)
def test_every_role_may_do_what_is_its_own(meter: House, name: str, codes: tuple[str, ...]) -> None:
    with meter.ours(name) as ours:
        listed = {bytes(o.obis) for o in ours.object_list()}
        device = ours.read(DEVICE).value
    value = dlms_data.OctetStringData(b"M" * 33).to_bytes()
    nothing = dlms_data.IntegerData(0).to_bytes()
    with cosem.associated(meter, name) as client:
        seen = AssociationObjectListParser.parse_bytes(client.get(attribute(15, LIST)))
        assert {o.logical_name.to_bytes() for o in seen} == listed
        assert plain(client.get(attribute(1, DEVICE))) == device
        requests = (
            lambda: client.get(attribute(3, ENERGY)),
            lambda: client.set(attribute(1, POINT), value),
            lambda: client.action(method(70, SWITCH, 2), nothing),
        )
        assert tuple(map(result, requests)) == codes
        client.release_association()


def test_the_installer_sets_the_metering_point_and_the_clock(meter: House) -> None:
    name = os.urandom(33)
    with cosem.associated(meter, "installer") as client:
        assert client.set(attribute(1, POINT), dlms_data.OctetStringData(name).to_bytes()).result == 0
        before = instant(plain(client.get(attribute(8, CLOCK))))
        for hours in (1, -1):
            moment = instant(plain(client.get(attribute(8, CLOCK)))) + timedelta(hours=hours)
            value = dlms_data.OctetStringData(datetime_to_bytes(moment)).to_bytes()
            assert client.set(attribute(8, CLOCK), value).result == 0
            with meter.ours("operator") as ours:
                assert ours.read(POINT).value == name
                moved = ours.read(CLOCK).value.to_datetime() - before
            assert timedelta(0) <= moved - timedelta(hours=max(0, hours)) < timedelta(minutes=5)


def test_the_manager_switches_off_and_on(meter: House) -> None:
    nothing = dlms_data.IntegerData(0).to_bytes()
    with cosem.associated(meter, "manager") as client:
        client.action(method(70, SWITCH, 1), nothing)
        assert plain(client.get(attribute(70, SWITCH))) is False
        with meter.ours("operator") as ours:
            assert ours.read(f"{SWITCH}:2").value is False
        client.action(method(70, SWITCH, 2), nothing)
        assert plain(client.get(attribute(70, SWITCH))) is True


@pytest.mark.parametrize("name", ["lls-plain", "lls-ciphered"])
def test_a_password(meter: House, name: str) -> None:
    with meter.ours(name, allow_weak=True) as ours:
        device = ours.read(DEVICE).value
    with cosem.associated(meter, name) as client:
        assert plain(client.get(attribute(1, DEVICE))) == device
        client.release_association()
    wrong = cosem.make(meter, meter.role(name))
    wrong.authentication.secret = b"known to nobody"
    with cosem.connected(wrong), pytest.raises(DlmsClientException, match=SILENT):
        wrong.associate()


@pytest.mark.parametrize("wrong", ["encryption_key", "authentication_key", "client_system_title"])
def test_wrong_keys_open_nothing_and_harm_nobody(meter: House, wrong: str) -> None:
    role = meter.role("operator")
    client = cosem.make(meter, role, **{wrong: os.urandom(8 if wrong.endswith("title") else 16)})
    with cosem.connected(client), pytest.raises(DlmsClientException, match=SILENT):
        client.associate()
    client = cosem.make(meter, role)
    with cosem.connected(client):
        client.associate()  # with the very counters of the refused one: it used up none of them
        energy = plain(client.get(attribute(3, ENERGY)))
    with meter.ours("operator") as ours:
        assert ours.read(ENERGY).value >= energy
