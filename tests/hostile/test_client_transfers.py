"""F11 at the client: a meter whose blocks have no end, gaps, lies or never the last."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from meterseal import sync
from meterseal.apdu.common import ResultData
from meterseal.apdu.services import GetResponseNormal
from meterseal.association import SERVER_CONFORMANCE
from meterseal.association.transfer import Transfer
from meterseal.codec.data import Data, Tag
from meterseal.errors import (
    Forged,
    Malformed,
    MetersealError,
    ProtocolViolation,
    TimedOut,
    TooLarge,
    Truncated,
)
from meterseal.framing import gbt
from meterseal.framing.gbt import Block
from tests.client.fake_meter import ENERGY, Exchange, FakeMeter, Role
from tests.hostile.client_side import READ, signed_on

ANSWER = 3
LONG = Data.of(bytes(range(256)) * 8, Tag.OCTET_STRING)
ROLE = Role(changes={"conformance": SERVER_CONFORMANCE, "options": frozenset({"prefers_gbt"})})
PEER = {"peer": frozenset({"prefers_gbt"}), "max_pdu": 200}

Lie = Callable[[Exchange, int], list[bytes] | None]
"""What goes out in place of block number n of the answer."""


def session(lie: Lie, **changes: object) -> AbstractContextManager[sync.Meter]:
    """A meter whose answers to services come in blocks, some of them other ones."""

    def alter(exchange: Exchange) -> list[bytes] | None:
        if exchange.number < ANSWER or exchange.reply[0] != gbt.TAG:
            return None
        return lie(exchange, gbt.decode(exchange.reply).number)

    fake = FakeMeter(ROLE, alter=alter)
    fake.objects[(*ENERGY, 2)] = LONG
    return signed_on(fake, credentials=fake.credentials(**(PEER | changes)))


def failure(lie: Lie, **changes: object) -> MetersealError:
    with session(lie, **changes) as meter:
        with pytest.raises(MetersealError) as caught:
            meter.get(*READ)
        assert meter.is_open  # a request has failed, not the association
        return caught.value


def test_without_a_lie_the_value_arrives() -> None:
    seen: list[int] = []

    def watch(exchange: Exchange, number: int) -> None:
        seen.append(number)

    with session(watch) as meter:
        assert meter.get(*READ) == LONG.raw
        assert meter.get(*READ) == LONG.raw
    assert seen[: len(seen) // 2] == list(range(1, len(seen) // 2 + 1)) and len(seen) > 20


def test_F11_blocks_that_are_lost_are_asked_for_again() -> None:
    """Every fifth block is lost once: the last ones of a window when time passes, the others at once."""
    lost: set[int] = set()

    def lose(exchange: Exchange, number: int) -> list[bytes] | None:
        if number % 5 or number in lost:
            return None
        lost.add(number)
        return []

    with session(lose, timeout=0.2) as meter:
        assert meter.get(*READ) == LONG.raw
    assert len(lost) >= 2


def test_F11_blocks_without_end() -> None:
    """Up to what the client keeps of an answer, and no further."""

    def forever(exchange: Exchange) -> list[bytes] | None:
        number = exchange.number - ANSWER + 1
        return None if number < 1 else [gbt.encode(Block(number, bytes(4000), window=8))]

    fake = FakeMeter(ROLE, alter=forever)
    with (
        signed_on(fake, credentials=fake.credentials(**(PEER | {"max_pdu": 4096}))) as meter,
        pytest.raises(TooLarge),
    ):
        meter.get(*READ)


def test_F11_a_gap_that_is_never_filled() -> None:
    error = failure(lambda exchange, number: [] if number == 3 else None, timeout=0.1)
    assert isinstance(error, TimedOut)


def test_F11_the_last_block_never_comes() -> None:
    def never(exchange: Exchange, number: int) -> list[bytes] | None:
        return [] if gbt.decode(exchange.reply).last else None

    assert isinstance(failure(never, timeout=0.1), TimedOut)


def test_F11_the_same_block_again_and_again() -> None:
    first: list[bytes] = []

    def repeat(exchange: Exchange, number: int) -> list[bytes]:
        first.append(exchange.reply)
        return [first[0]]

    assert isinstance(failure(repeat, timeout=0.1), Malformed)


@pytest.mark.parametrize(
    ("number", "block", "error"),
    [
        (2, Block(0, b"x", window=1), Malformed),
        (2, Block(66, b"x", window=1), Malformed),
        (2, Block(0xFFFF, b"x", window=1), Malformed),
        (2, Block(2, b"x", window=1, acknowledged=0x1234), Malformed),
        (1, Block(1, b"x", window=1, acknowledged=7), ProtocolViolation),
        (2, Block(2, b"x", last=True, window=1), Truncated),
        (2, Block(2, b"", last=True, window=1), MetersealError),
    ],
    ids=["zero", "far", "farthest", "acknowledges-what-was-not-sent", "no-transfer", "cut", "empty"],
)
def test_F11_a_block_that_cannot_be(number: int, block: Block, error: type[MetersealError]) -> None:
    lies = [gbt.encode(block)]
    found = failure(lambda exchange, at: lies if at == number else None, timeout=0.1)
    assert isinstance(found, error)


def test_B01_any_changed_octet_of_the_blocks_is_noticed() -> None:
    """The blocks prove nothing by themselves: the tag over the whole does."""
    for position in (7, 20, 100):

        def change(exchange: Exchange, number: int, at: int = position) -> list[bytes] | None:
            octets = bytearray(exchange.reply)
            if number != 4:
                return None
            octets[at + 4] ^= 0x40
            return [bytes(octets)]

        assert isinstance(failure(change), Forged)


def test_B09_another_answer_in_blocks_of_its_own() -> None:
    """Well protected, but nobody asked for it."""

    def other(exchange: Exchange) -> list[bytes] | None:
        if exchange.number < ANSWER:
            return None
        plain = GetResponseNormal(0xC0 | 9, ResultData(LONG)).encode()
        sender = Transfer(size=200, window=8, limit=1 << 16, peer_window=63)
        return list(sender.send(exchange.seal(plain)))

    fake = FakeMeter(ROLE, alter=other)
    with (
        signed_on(fake, credentials=fake.credentials(**PEER)) as meter,
        pytest.raises(ProtocolViolation, match="invoke-id"),
    ):
        meter.get(*READ)
