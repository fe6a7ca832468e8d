"""Image transfer: blocks in any order, over restarts; lies are refused; only what verifies goes active."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from meterseal.codec.types import Structure, Tag
from meterseal.errors import Forged
from meterseal.meter import Meter, Party, load_plan
from meterseal.meter.image import LARGEST, check_digest, image_of
from tests.meter.world import Client, World, world

IMAGE, FIRMWARE, LOG = "0.0.44.0.0.255", "1.0.0.2.0.255", "0.0.99.98.0.255"
START = Structure((Tag.OCTET_STRING, Tag.DOUBLE_LONG_UNSIGNED))
BLOCK = Structure((Tag.DOUBLE_LONG_UNSIGNED, Tag.OCTET_STRING))
NAME = b"2.0.1"
CONTENT = image_of(NAME, b"".join(at.to_bytes(2, "big") for at in range(1154)))
OTHER = 0xFA


def status(client: Client) -> int:
    found: int = client.get(18, IMAGE, 6)
    return found


def start(client: Client, name: bytes = NAME, size: int = len(CONTENT)) -> int:
    return client.call(18, IMAGE, 1, (name, size), START)


def block(client: Client, at: int, octets: bytes | None = None) -> int:
    octets = CONTENT[at * 512 : (at + 1) * 512] if octets is None else octets
    return client.call(18, IMAGE, 2, (at, octets), BLOCK)


def codes_of(client: Client) -> list[int]:
    return [code for _, code in client.get(7, LOG)]


def test_an_image_goes_in_is_verified_and_activated() -> None:
    client = world().signed_on("manager")
    assert status(client) == 0 and client.get(18, IMAGE, 2) == 512
    assert start(client) == 0 and status(client) == 1
    assert str(client.get(18, IMAGE, 3)) == "00000"
    for at in (0, 4, 2, 1):
        assert block(client, at) == 0
    assert str(client.get(18, IMAGE, 3)) == "11101" and client.get(18, IMAGE, 4) == 3
    assert client.get(18, IMAGE, 7) == []
    assert block(client, 3) == 0 and client.get(18, IMAGE, 4) == 5
    assert client.call(18, IMAGE, 3) == 0 and status(client) == 3
    assert client.get(18, IMAGE, 7) == [(len(CONTENT), NAME, CONTENT[-32:])]
    assert client.get(1, FIRMWARE) == b"1.0.0"
    assert client.call(18, IMAGE, 4) == 0 and status(client) == 6
    assert client.get(1, FIRMWARE) == NAME
    assert codes_of(client) == [17, 18]
    assert client.call(18, IMAGE, 4) == OTHER, "once is enough"


def test_F11_a_transfer_goes_on_after_a_restart(tmp_path: Path) -> None:
    here = world(folder=tmp_path / "state")
    client = here.signed_on("manager")
    start(client)
    for at in (0, 1, 3):
        block(client, at)
    here.restart()
    client = here.signed_on("manager")
    assert status(client) == 1 and str(client.get(18, IMAGE, 3)) == "11010"
    for at in (2, 4):
        assert block(client, at) == 0
    assert client.call(18, IMAGE, 4) == 0, "activation verifies what nobody has verified"
    here.restart()
    client = here.signed_on("manager")
    assert client.get(1, FIRMWARE) == NAME and status(client) == 6
    assert not [name for name in here.meter.store._values if "/block/" in name], "the octets are let go"
    assert codes_of(client) == [17, 18]


def test_F11_the_octets_of_a_transfer_are_bounded() -> None:
    client = world().signed_on("manager")
    assert start(client, size=LARGEST + 1) == OTHER and start(client, size=0) == OTHER
    assert start(client, name=b"") == OTHER and start(client, name=bytes(65)) == OTHER
    assert status(client) == 0
    assert start(client, size=0xFFFFFFFF) == OTHER


def test_F11_more_than_was_announced_is_refused() -> None:
    client = world().signed_on("manager")
    start(client, size=700)
    assert block(client, 0) == 0
    assert block(client, 1) == OTHER, "the last block is 188 octets"
    assert block(client, 2) == OTHER and block(client, 0xFFFFFFFF) == OTHER
    assert block(client, 1, bytes(187)) == OTHER and block(client, 1, b"") == OTHER
    assert block(client, 0, bytes(511)) == OTHER, "a block in the middle is whole"
    assert client.call(18, IMAGE, 3) == OTHER
    assert str(client.get(18, IMAGE, 3)) == "10"


def test_F11_a_block_that_says_another_number_spoils_the_image_and_nothing_else() -> None:
    client = world().signed_on("manager")
    start(client)
    for at in (0, 1, 2, 4):
        block(client, at)
    assert block(client, 3, CONTENT[:512]) == 0
    assert client.call(18, IMAGE, 3) == OTHER and status(client) == 4
    assert client.call(18, IMAGE, 4) == OTHER and client.get(1, FIRMWARE) == b"1.0.0"
    assert block(client, 3) == 0, "the right one can still come"
    assert client.call(18, IMAGE, 3) == 0 and status(client) == 3
    assert block(client, 3, CONTENT[:512]) == OTHER, "what is verified stays as it is"
    assert client.call(18, IMAGE, 4) == 0


@pytest.mark.parametrize("missing", range(5))
def test_F11_verify_before_complete(missing: int) -> None:
    client = world().signed_on("manager")
    assert client.call(18, IMAGE, 3) == OTHER and client.call(18, IMAGE, 4) == OTHER
    start(client)
    for at in set(range(5)) - {missing}:
        block(client, at)
    assert client.call(18, IMAGE, 3) == OTHER and client.call(18, IMAGE, 4) == OTHER
    assert status(client) == 1 and client.get(18, IMAGE, 4) == missing


def test_a_new_transfer_forgets_the_one_before() -> None:
    client = world().signed_on("manager")
    start(client)
    block(client, 0)
    assert start(client, size=100) == 0
    assert str(client.get(18, IMAGE, 3)) == "0"


def test_transfer_that_is_switched_off() -> None:
    client = world().signed_on("manager")
    assert client.set(18, IMAGE, 5, False, Tag.BOOLEAN) == 0
    assert start(client) == OTHER and client.get(18, IMAGE, 5) is False
    assert client.set(18, IMAGE, 5, True, Tag.BOOLEAN) == 0 and start(client) == 0


def test_who_may_not_is_told_that_there_is_nothing() -> None:
    for role in ("public", "operator", "installer"):
        assert start(world().signed_on(role)) == 4


def test_a_signature_of_ones_own() -> None:
    seen: list[tuple[bytes, bytes]] = []

    def check(identifier: bytes, image: bytes) -> bytes:
        seen.append((identifier, image))
        if identifier != NAME:
            raise Forged("signed by nobody")
        return b"signature"

    here = World(load_plan())
    here.meter = Meter(here.plan, wall=lambda: here.seconds, image_check=check)
    here.party = Party(here.meter, here.timer)
    here.credentials = _credentials(here.meter)
    client = here.signed_on("manager")
    for name, code in ((b"3.0.0", OTHER), (NAME, 0)):
        start(client, name, 3)
        block(client, 0, b"abc")
        assert client.call(18, IMAGE, 3) == code
    assert client.get(18, IMAGE, 7) == [(3, NAME, b"signature")]
    assert seen == [(b"3.0.0", b"abc"), (NAME, b"abc")]


def _credentials(meter: Meter) -> Any:
    from meterseal.meter import credentials_of

    return credentials_of(meter)


@pytest.mark.parametrize("at", [0, 5, -33, -1])
def test_the_digest_covers_identifier_and_content(at: int) -> None:
    spoilt = bytearray(CONTENT)
    spoilt[at] ^= 1
    for name, image in ((NAME, bytes(spoilt)), (b"2.0.2", CONTENT), (NAME, b""), (NAME, CONTENT[-32:])):
        with pytest.raises(Forged):
            check_digest(name, image)
    assert check_digest(NAME, CONTENT) == CONTENT[-32:]
