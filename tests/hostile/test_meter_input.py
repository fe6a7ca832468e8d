"""Octets that are no request, at the meter over a socket: F01, F03 to F09, bare and sealed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from meterseal.errors import ConnectionLost
from tests.hostile.raw import Running, running
from tests.mutate import truncations

CLOCK = "0.0.1.0.0.255"
HEAD = bytes.fromhex("C101C10001000060010AFF0200")
KILLERS = {
    "cut array": "01",
    "cut structure": "020309",
    "arrays 500 deep": "0101" * 500 + "00",
    "structures 500 deep": "0201" * 500 + "00",
    "array of 2^31": "01847FFFFFFF" + "00" * 1024,
    "structure of 2^64": "0288" + "FF" * 8,
    "string of 2^31": "098480000000" + "00" * 16,
    "length of 127 octets": "09FF" + "FF" * 127,
    "length 80": "0980" + "00" * 16,
    "deep description": "13" + "0201" * 1000 + "110105",
    "multiplying": "130200120F16080001020300020405",
    "multiplying most": "1301FFFF01FFFF01FFFF110405050505",
    "compact array of null": "130001AA",
}
WHOLE = [
    bytes.fromhex("C001C100080000010000FF0200"),
    bytes.fromhex("C003C10100080000010000FF0200"),
    HEAD + bytes.fromhex("09024142"),
    bytes.fromhex("C301C100080000010000FF0601100000"),
]
BARE = ["DC84ED2FAE69" + "00" * 54, "DB841E308000" + "00" * 27, "C001C100070100630100FF02010102"]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("meter")) as found:
        yield found


@pytest.mark.parametrize("name", KILLERS)
def test_F03_to_F08_killer_inputs_in_a_request(name: str, here: Running) -> None:
    installer, public = here.signed_on("installer"), here.signed_on("public")
    before = installer.get(1, "0.0.96.1.10.255")
    octets = HEAD + bytes.fromhex(KILLERS[name])
    assert installer.plain(octets)[:1] == b"\xd8"
    assert public.line.ask(octets, 16)[:1] == b"\xd8"
    assert installer.get(1, "0.0.96.1.10.255") == before and public.get(8, CLOCK)


@pytest.mark.parametrize("octets", BARE)
def test_F08_killer_inputs_for_the_headers(octets: str, here: Running) -> None:
    for role in ("operator", "public"):
        client = here.signed_on(role)
        assert client.line.ask(bytes.fromhex(octets), client.sap)[:1] == b"\xd8"
        assert client.get(8, CLOCK)


def test_F01_every_truncation_of_a_request(here: Running) -> None:
    installer, public = here.signed_on("installer"), here.signed_on("public")
    for _, prefix in truncations(WHOLE):
        if prefix:
            assert (
                installer.plain(prefix, 3, None)[:1] == b"\xd8" if prefix[0] in (0xC0, 0xC1, 0xC3) else True
            )
            assert public.line.ask(prefix, 16)[:1] == b"\xd8"
    sealed = installer.sealed(WHOLE[0])
    for _, prefix in truncations([sealed]):
        if prefix:
            assert installer.line.ask(prefix, 3)[:1] == b"\xd8"
    assert installer.line.ask(sealed, 3)[:1] == b"\xcc"


def test_F09_a_frame_without_an_apdu_closes_the_line(here: Running) -> None:
    client = here.signed_on("operator")
    with pytest.raises(ConnectionLost):
        client.line.ask(b"", 2)
    assert here.signed_on("operator").get(8, CLOCK)
