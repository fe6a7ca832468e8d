"""gurux-dlms as head-end of our meter: every role, what it reads, writes and calls, how it is protected."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from gurux_dlms import GXDateTime
from gurux_dlms.enums import Command, Conformance, DataType
from gurux_dlms.GXDLMSException import GXDLMSException
from gurux_dlms.GXDLMSExceptionResponse import GXDLMSExceptionResponse
from gurux_dlms.objects import (
    GXDLMSClock,
    GXDLMSData,
    GXDLMSDisconnectControl,
    GXDLMSProfileGeneric,
    GXDLMSRegister,
)

from tests.peers import gurux
from tests.peers.gurux import Gurux, RefusedByMeter
from tests.peers.house import House

ENERGY, CLOCK, PROFILE = "1.0.1.8.0.255", "0.0.1.0.0.255", "1.0.99.1.0.255"
DEVICE, POINT, SWITCH = "0.0.42.0.0.255", "0.0.96.1.10.255", "0.0.96.3.10.255"
SILENT = "No reason is given"
SMALL, WRAPPER = 300, 8
"""Octets of an APDU that force object list, profile and lists into blocks."""


def quantity(peer: Gurux, name: str) -> Decimal:
    """A register's value with the peer's scaler."""
    register = GXDLMSRegister(name)
    scaler, _ = peer.read(register, 3)
    raw = peer.ask(peer.client.read(register, 2)).value
    return Decimal(raw) * Decimal(str(scaler))


def octets(name: str, value: bytes) -> Any:
    """A Data object with an octet-string to be written."""
    item = GXDLMSData(name)
    item.value = bytearray(value)
    item.setDataType(2, DataType.OCTET_STRING)
    return item


def value_of(peer: Gurux, name: str) -> bytes:
    """The octets of a Data object."""
    return bytes(peer.ask(peer.client.read(GXDLMSData(name), 2)).value)


def instant(value: Any) -> datetime:
    """A time of the peer's as one of UTC."""
    found: datetime = value.value.astimezone(UTC)
    return found


def columns(peer: Gurux) -> Any:
    """The load profile with its capture objects read."""
    profile = GXDLMSProfileGeneric(PROFILE)
    peer.read(profile, 3)
    return profile


def rows(found: list[Any]) -> list[tuple[Any, ...]]:
    """Rows of the peer's with their times as of UTC."""
    return [(instant(row[0]), *row[1:]) for row in found]


def our_rows(found: Any) -> list[tuple[Any, ...]]:
    """Rows of our own client in the same form."""
    return [(row[0].to_datetime().astimezone(UTC), *map(int, row[1:])) for row in found]


@pytest.mark.parametrize("max_pdu", [0xFFFF, SMALL])
def test_a_whole_session(meter: House, max_pdu: int) -> None:
    with meter.ours("operator") as ours:
        energy, clock = ours.read(ENERGY), ours.read(CLOCK)
        names = gurux.listed(ours.object_list())
        some = ours.profile(PROFILE, entries=(100, 160))
    start, end = some[10][0].to_datetime(), some[40][0].to_datetime()
    with gurux.associated(meter, "operator", max_pdu=max_pdu) as peer:
        assert quantity(peer, ENERGY) >= energy.value
        now = instant(peer.read(GXDLMSClock(CLOCK), 2))
        assert timedelta(0) <= now - clock.value.to_datetime() < timedelta(minutes=5)
        listed = [(o.objectType, o.version, o.logicalName) for o in peer.objects()]
        assert listed == names
        profile = columns(peer)
        captured = [(o.objectType, o.logicalName, c.attributeIndex) for o, c in profile.captureObjects]
        assert captured == [(c.source.class_id, str(c.source.obis), c.source.attribute) for c in some.columns]
        by_range = rows(peer.rows(profile, peer.client.readRowsByRange(profile, start, end)))
        assert by_range == our_rows(some[10:41])
        by_entry = rows(peer.rows(profile, peer.client.readRowsByEntry(profile, 100, 61)))
        assert by_entry == our_rows(some) or by_entry[:-1] == our_rows(some)[1:]
        assert len(by_entry) == 61
        assert peer.release().command == Command.RELEASE_RESPONSE
    with meter.ours("operator") as ours:
        assert ours.read(ENERGY).value >= energy.value


def test_answers_of_the_small_client_come_in_blocks(meter: House, monkeypatch: pytest.MonkeyPatch) -> None:
    with gurux.associated(meter, "operator", max_pdu=SMALL) as peer:
        asked: list[int] = []
        take = peer._exchange

        def count(octets: bytes, reply: Any) -> None:
            asked.append(len(octets))
            take(octets, reply)
            assert reply.packetLength <= WRAPPER + SMALL

        monkeypatch.setattr(peer, "_exchange", count)
        assert len(peer.objects()) == 21
        assert len(asked) > 3
        asked.clear()
        profile = columns(peer)
        peer.rows(profile, peer.client.readRowsByEntry(profile, 1, 60))
        assert len(asked) > 5


def test_rows_with_chosen_columns(meter: House) -> None:
    with meter.ours("operator") as ours:
        some = ours.profile(PROFILE, entries=(10, 20), columns=[CLOCK, ENERGY])
    with gurux.associated(meter, "operator") as peer:
        profile = columns(peer)
        wanted = [profile.captureObjects[0], profile.captureObjects[2]]
        start, end = some[0][0].to_datetime(), some[-1][0].to_datetime()
        found = rows(peer.rows(profile, peer.client.readRowsByRange(profile, start, end, wanted), wanted))
    assert found == our_rows(some) and len(found) == 11 and len(found[0]) == 2


@pytest.mark.parametrize("max_pdu", [0xFFFF, SMALL])
def test_a_list(meter: House, max_pdu: int) -> None:
    items = ["0.0.96.1.0.255", "1.0.0.2.0.255", POINT, DEVICE]
    with meter.ours("operator") as ours:
        values = [ours.read(f"1/{name}:2").value for name in items]
    with gurux.associated(meter, "operator", max_pdu=max_pdu) as peer:
        wanted = [(GXDLMSData(name), 2) for name in items] + [(GXDLMSRegister(ENERGY), 3)]
        found = peer.read_list(wanted)
    assert [bytes(value) for value in found[:4]] == values
    assert found[4] == [0, 30]


@pytest.mark.parametrize(
    ("name", "codes"),
    [("public", (4, 4, 4)), ("operator", (0, 3, 3)), ("installer", (4, 0, 3)), ("manager", (0, 0, 0))],
)
def test_every_role_may_do_what_is_its_own(meter: House, name: str, codes: tuple[int, ...]) -> None:
    """Not in the view: object-undefined (4).  In the view without the right: read-write-denied (3)."""
    point, switch = octets(POINT, b"M" * 33), GXDLMSDisconnectControl(SWITCH)
    with meter.ours(name) as ours:
        listed = {name for _, _, name in gurux.listed(ours.object_list())}
        device = ours.read(DEVICE).value
    with gurux.associated(meter, name) as peer:
        assert {o.logicalName for o in peer.objects()} == listed
        assert value_of(peer, DEVICE) == device
        requests = (
            peer.client.read(GXDLMSRegister(ENERGY), 2),
            peer.client.write(point, 2),
            switch.remoteReconnect(peer.client),
        )
        assert tuple(map(peer.result, requests)) == codes
        assert peer.release().command == Command.RELEASE_RESPONSE


# --- writing and calling --------------------------------------------------------------------------


def test_the_installer_sets_the_metering_point_and_the_clock(meter: House) -> None:
    clock, name = GXDLMSClock(CLOCK), os.urandom(33)
    with gurux.associated(meter, "installer") as peer:
        peer.ask(peer.client.write(octets(POINT, name), 2))
        before = instant(peer.read(clock, 2))
        clock.time = GXDateTime(before + timedelta(hours=1))
        peer.ask(peer.client.write(clock, 2))
        with meter.ours("operator") as ours:
            assert ours.read(POINT).value == name
            after = ours.read(CLOCK).value.to_datetime()
        assert timedelta(hours=1) <= after - before < timedelta(hours=1, minutes=5)
        clock.time = GXDateTime(instant(peer.read(clock, 2)) - timedelta(hours=1))
        peer.ask(peer.client.write(clock, 2))
        assert timedelta(0) <= instant(peer.read(clock, 2)) - before < timedelta(minutes=5)


def test_a_value_written_in_blocks(meter: House) -> None:
    """To a role that takes 256 octets at a time."""
    client, value = gurux.make(meter.role("small")), os.urandom(600)
    gurux.without(client, Conformance.GENERAL_PROTECTION)
    with gurux.connected(meter, client) as peer:
        peer.sign_on()
        before = value_of(peer, POINT)
        requests = client.write(octets(POINT, value), 2)
        assert len(requests) == 3
        peer.ask(requests)
        assert value_of(peer, POINT) == value
        peer.ask(client.write(octets(POINT, before), 2))
        assert value_of(peer, POINT) == before


def test_the_manager_switches_off_and_on(meter: House) -> None:
    switch = GXDLMSDisconnectControl(SWITCH)
    with gurux.associated(meter, "manager") as peer:
        peer.ask(switch.remoteDisconnect(peer.client))
        assert (peer.read(switch, 2), peer.read(switch, 3)) == (False, 0)
        with meter.ours("operator") as ours:
            assert ours.read(f"{SWITCH}:2").value is False
        peer.ask(switch.remoteReconnect(peer.client))
        assert peer.read(switch, 2) is True


# --- how it is signed on and protected -------------------------------------------------------------


@pytest.mark.parametrize("context", ["plain", "ciphered"])
@pytest.mark.parametrize("mechanism", ["lls", "md5", "sha1", "sha256"])
def test_mechanisms_with_a_secret(meter: House, mechanism: str, context: str) -> None:
    name = f"{mechanism}-{context}"
    with meter.ours(name, allow_weak=True) as ours:
        device = ours.read(DEVICE).value
    with gurux.associated(meter, name) as peer:
        assert value_of(peer, DEVICE) == device
        assert peer.release().command == Command.RELEASE_RESPONSE
    client = gurux.make(meter.role(name))
    client.password = b"known to nobody"
    assert refused(meter, client)


@pytest.mark.parametrize("name", ["authenticated", "encrypted"])
def test_policies_with_half_of_the_protection(meter: House, name: str) -> None:
    with meter.ours(name, allow_weak=True) as ours:
        energy = ours.read(ENERGY).value
    with gurux.associated(meter, name) as peer:
        assert quantity(peer, ENERGY) >= energy
    with gurux.associated(meter, name, security=3) as peer:
        assert quantity(peer, ENERGY) >= energy, "more than the policy asks for is taken"


@pytest.mark.parametrize(
    ("security", "answer"), [(0, "context name is not supported"), (1, SILENT), (2, SILENT)]
)
def test_less_protection_than_the_policy_is_refused(meter: House, security: int, answer: str) -> None:
    assert refused(meter, gurux.make(meter.role("operator"), security=security), answer)


@pytest.mark.parametrize("general", [True, False], ids=["general", "by service"])
@pytest.mark.parametrize("dedicated", [True, False], ids=["dedicated", "global"])
def test_forms_of_ciphering(meter: House, general: bool, dedicated: bool) -> None:
    client = gurux.make(meter.role("operator"))
    if general:
        client.proposedConformance = client.proposedConformance | Conformance.GENERAL_PROTECTION
    else:
        gurux.without(client, Conformance.GENERAL_PROTECTION)
    if dedicated:
        client.ciphering.dedicatedKey = bytearray(os.urandom(16))
    with gurux.connected(meter, client) as peer:
        peer.sign_on()
        assert bool(client.negotiatedConformance & Conformance.GENERAL_PROTECTION) is general
        sent = {True: {True: 0xDC, False: 0xDB}, False: {True: 0xD0, False: 0xC8}}[general][dedicated]
        request = client.read(GXDLMSClock(CLOCK), 2)
        assert request[0][8] == sent
        peer.ask(request)
        assert len(peer.objects()) == 21
        assert peer.release().command == Command.RELEASE_RESPONSE


def refused(house: House, client: Any, answer: str = SILENT) -> bool:
    """True when the meter does not sign the client on, tells no more than `answer`, and serves nothing."""
    with gurux.connected(house, client) as peer:
        try:
            peer.sign_on()
        except GXDLMSException as error:
            assert answer in str(error)
        except RefusedByMeter as error:
            assert error.code == gurux.OTHER_REASON, "the proof did not verify"
        else:
            return False
        with pytest.raises(GXDLMSExceptionResponse, match="Operation not possible"):
            peer.ask(client.read(GXDLMSRegister(ENERGY), 2))
    return True


def swapped(client: Any) -> None:
    """GUEK and GAK for one another."""
    cipher = client.ciphering
    cipher.blockCipherKey, cipher.authenticationKey = cipher.authenticationKey, cipher.blockCipherKey


def other_gak(client: Any) -> None:
    """The right encryption key and a wrong authentication key."""
    client.ciphering.authenticationKey = bytearray(16)


def other_title(client: Any) -> None:
    """The keys of the role under another client's title."""
    client.ciphering.systemTitle = bytearray(b"MSLHES\x00\x09")


def other_address(client: Any) -> None:
    """The operator's keys and title under the installer's address."""
    client.clientAddress = 3


@pytest.mark.parametrize("change", [swapped, other_gak, other_title, other_address])
def test_wrong_keys_open_nothing_and_harm_nobody(meter: House, change: Any) -> None:
    role = meter.role("operator")
    client = gurux.make(role)
    change(client)
    assert refused(meter, client)
    with gurux.connected(meter, gurux.make(role)) as peer:
        peer.sign_on()  # with the very counters of the refused one: it used up none of them
        energy = quantity(peer, ENERGY)
    with meter.ours("operator") as ours:
        assert ours.read(ENERGY).value >= energy


def test_counters_that_were_used_are_not_taken_again(meter: House) -> None:
    role = meter.role("operator")
    with gurux.connected(meter, gurux.make(role)) as peer:
        peer.sign_on()
    assert refused(meter, gurux.make(role))
