"""What is agreed on at sign-on, and kept to: sizes, services, dedicated keys (A19, A20)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from meterseal import apdu
from meterseal.apdu.initiate import InitiateRequest
from meterseal.association import SERVER_CONFORMANCE, conformance
from meterseal.codec.types import Tag
from meterseal.crypto import random_octets
from meterseal.errors import ConnectionLost
from meterseal.security import Style, protect
from tests.hostile.aarq import first, initiate, send, stands
from tests.hostile.raw import REJECTED, Running, running
from tests.meter.world import read, write

CLOCK, POINT = "0.0.1.0.0.255", "0.0.96.1.10.255"


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


@pytest.mark.parametrize("role", ["public", "operator"])
def test_A19_sizes_and_services_are_agreed_on_and_kept_to(role: str, here: Running) -> None:
    smallest = 12 if role == "public" else 64
    for size in (0, 1, 11, 12, 63, 64, 100, 65535):
        client = here.client(role)
        aare = send(client, initiate(client, client_max_receive_pdu_size=size))
        assert (aare.result == 0) == (size == 0 or size >= smallest), size
        if aare.result:
            assert client.opened(aare.user_information or b"") == bytes.fromhex("0E010603")
    for services in (0, conformance("read", "write"), conformance("get"), 0xFFFFFF):
        client = here.client(role)
        aare = send(client, initiate(client, proposed_conformance=services))
        mine = SERVER_CONFORMANCE
        assert (aare.result == 0) == bool(services & mine)
        inner = client.opened(aare.user_information or b"")
        if aare.result:
            assert inner == bytes.fromhex("0E010602")
        else:
            answer: Any = apdu.decode(inner)
            assert answer.negotiated_conformance == services & mine
    for version, code in ((5, 1), (6, 0), (7, 0)):
        client = here.client(role)
        aare = send(client, initiate(client, proposed_dlms_version_number=version))
        assert aare.result == (1 if code else 0)


@pytest.mark.parametrize("size", [64, 65, 100, 300])
@pytest.mark.parametrize("general", [False, True])
def test_A19_no_answer_is_larger_than_the_client_takes(size: int, general: bool, here: Running) -> None:
    client = here.signed_on("manager", max_pdu=size, general=general)
    longest = 0
    ask = client.line.ask

    def measured(octets: bytes, sap: int, server: int = 1) -> bytes:
        nonlocal longest
        answer: bytes = ask(octets, sap, server)
        longest = max(longest, len(answer))
        return answer

    client.line.ask = measured
    assert len(client.get(15, "0.0.40.0.0.255")) > 30
    assert client.one(write(1, POINT, 2, bytes(100), Tag.OCTET_STRING)).code == 0
    outcomes = client.ask(*[read(8, CLOCK, 2)] * 20)
    assert len(outcomes) == 20
    assert size // 2 < longest <= size


def test_A19_what_was_not_agreed_is_refused(here: Running) -> None:
    client = here.signed_on("operator", conformance=conformance("get", "action"))
    lists = bytes.fromhex("C003C101") + bytes.fromhex("00080000010000FF0200")
    write_ = bytes.fromhex("C101C100080000010000FF0200090C") + bytes(12)
    for octets in (lists, write_):
        assert client.line.ask(client.sealed(octets), 2) == bytes.fromhex("D80102")
    general = client.sealed(bytes.fromhex("C001C100080000010000FF0200"), 3, Style.GENERAL_GLO)
    assert client.line.ask(general, 2) == bytes.fromhex("D80102")
    assert client.get(8, CLOCK)


def test_A19_more_than_the_meter_takes_is_never_kept(here: Running) -> None:
    client = here.signed_on("operator")
    line = client.line
    line.raw(bytes.fromhex("0001000200011001"))
    assert line.take() is None, "closed at the header, before an octet of it is kept"
    other = here.signed_on("operator")
    with pytest.raises(ConnectionLost):
        other.line.ask(bytes(5000), 2)


@pytest.mark.parametrize(
    "variant", ["plain", "authenticated", "encrypted", "short", "long", "empty", "global"]
)
def test_A20_a_dedicated_key_comes_protected_and_of_its_own(variant: str, here: Running) -> None:
    client = here.client("operator")
    guek = here.credentials.roles["operator"].octets("guek")
    key = {"short": random_octets(15), "long": random_octets(17), "empty": b"", "global": guek}.get(
        variant, random_octets(16)
    )
    aarq = initiate(client, dedicated_key=key)
    assert client.machine._opening is not None
    plain = InitiateRequest(key, True, None, 6, client.machine.profile.conformance, 4096).encode()
    weaker = {"plain": 0, "authenticated": 1, "encrypted": 2}.get(variant)
    if weaker is not None:
        octets = plain if not weaker else protect(client.machine._opening.context(), plain, weaker, Style.GLO)
        aarq = aarq.replace(user_information=octets)
    assert client.line.ask(aarq.encode(), 2) == REJECTED
    assert not stands(client)


def test_A20_also_where_the_policy_asks_for_less(tmp_path: Path) -> None:
    config = '[roles.operator]\npolicy = "none"\nciphered = true\n'
    with running(tmp_path, config) as meter:
        for applied in range(4):
            client = meter.client("operator")
            aarq = first(client)
            key = random_octets(16)
            plain = InitiateRequest(key, True, None, 6, client.machine.profile.conformance, 4096).encode()
            assert client.machine._opening is not None
            octets = (
                plain
                if not applied
                else protect(client.machine._opening.context(), plain, applied, Style.GLO)
            )
            aare = send(client, aarq.replace(user_information=octets))
            assert (aare.result == 0) == (applied == 3), applied
