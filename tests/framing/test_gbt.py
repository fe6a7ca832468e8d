"""General block transfer: one block, and APDUs out of captured blocks."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.errors import Malformed, Misuse, TooLarge, Truncated
from meterseal.framing import gbt, hdlc
from meterseal.framing.gbt import Block, Reassembly
from tests.framing.captures import E450, LONG_APDU, gbt_blocks
from tests.mutate import hammer, truncations

BLOCKS = [hdlc.strip_llc(hdlc.decode(octets).information) for octets in E450]


def test_recorded_blocks() -> None:
    blocks = [gbt.decode(octets) for octets in BLOCKS]
    assert [(block.number, block.last, block.streaming, block.window) for block in blocks] == [
        (1, False, True, 0),
        (2, False, True, 0),
        (3, True, True, 0),
    ]
    reassembly = Reassembly()
    assert [reassembly.add(block) is None for block in blocks] == [True, True, False]


def test_a_published_acknowledgement() -> None:
    frame = hdlc.decode(bytes.fromhex("7EA01402230D188517E6E600E0830003000600") + hdlc_end())
    block = gbt.decode(hdlc.strip_llc(frame.information))
    assert block == Block(3, b"", last=True, window=3, acknowledged=6)
    assert block.acknowledges_only


def hdlc_end() -> bytes:
    """The published frame is quoted without its FCS."""
    return hdlc.checksum(bytes.fromhex("A01402230D188517E6E600E0830003000600")) + b"\x7e"


@given(
    st.integers(0, 0xFFFF), st.integers(0, 0xFFFF), st.integers(0, 63), st.booleans(), st.booleans(),
    st.binary(max_size=400),
)  # fmt: skip
def test_any_block_comes_back(
    number: int, acknowledged: int, window: int, last: bool, streaming: bool, data: bytes
) -> None:
    block = Block(number, data, last, streaming, window, acknowledged)
    octets = gbt.encode(block)
    assert gbt.decode(octets) == block
    assert len(octets) - len(data) == 7 + (len(data) > 127) + (len(data) > 255)


@pytest.mark.parametrize("block", [Block(0x10000), Block(1, acknowledged=-1), Block(1, window=64)])
def test_fields_out_of_range_are_misuse(block: Block) -> None:
    with pytest.raises(Misuse):
        gbt.encode(block)


def test_a_block_too_large_for_its_length() -> None:
    with pytest.raises(TooLarge):
        gbt.encode(Block(1, bytes(0x10000)))


HEAD = "E08000010000"


@pytest.mark.parametrize("length", ["8103", "820003", "83000003", "8400000003"])
def test_F07_lengths_that_are_not_minimal_are_taken(length: str) -> None:
    assert gbt.decode(bytes.fromhex(HEAD + length + "ABCDEF")).data == b"\xab\xcd\xef"


@pytest.mark.parametrize("length", ["80", "850000000003", "88FFFFFFFFFFFFFFFF", "FF" + "FF" * 127])
def test_F07_lengths_in_more_than_four_octets_or_without_end_are_refused(length: str) -> None:
    with pytest.raises(Malformed, match="length"):
        gbt.decode(bytes.fromhex(HEAD + length + "ABCDEF"))


@pytest.mark.parametrize("length", ["04", "7F", "81FF", "82FFFF", "84FFFFFFFF", "84", "8200"])
def test_F08_data_beyond_the_end_is_truncated(length: str) -> None:
    with pytest.raises(Truncated):
        gbt.decode(bytes.fromhex(HEAD + length + "AB"))


def test_other_tags_and_octets_left_over() -> None:
    with pytest.raises(Malformed, match="E0"):
        gbt.decode(b"\xe1" + BLOCKS[0][1:])
    with pytest.raises(Malformed, match="1 octets after"):
        gbt.decode(BLOCKS[0] + b"\x00")


def unconfirmed(apdu: bytes, size: int = 60) -> list[Block]:
    return [gbt.decode(octets) for octets in gbt_blocks(apdu, size)]


@given(st.binary(min_size=1, max_size=600), st.integers(1, 200), st.data())
def test_blocks_that_come_twice_are_dropped(apdu: bytes, size: int, data: st.DataObject) -> None:
    reassembly = Reassembly()
    found = []
    for block in unconfirmed(apdu, size):
        for _ in range(data.draw(st.integers(1, 3))):
            found.append(reassembly.add(block))
    assert [whole for whole in found if whole is not None] == [apdu]


def test_F11_an_unconfirmed_gap_loses_the_apdu_and_only_that() -> None:
    blocks = unconfirmed(LONG_APDU)
    for lost in range(len(blocks) - 1):
        reassembly = Reassembly()
        with pytest.raises(Malformed, match=f"block {lost + 1} is missing, {lost + 2} came"):
            for block in blocks[:lost] + blocks[lost + 1 :]:
                reassembly.add(block)
        assert [reassembly.add(block) for block in blocks][-1] == LONG_APDU


def test_F11_the_lost_end_of_one_apdu_does_not_mix_with_the_next() -> None:
    first, second = unconfirmed(b"A" * 60 + b"1" * 120), unconfirmed(b"A" * 60 + b"2" * 120)
    reassembly = Reassembly()
    found = [reassembly.add(block) for block in (*first[:2], *second)]
    assert [whole for whole in found if whole] == [b"A" * 60 + b"2" * 120]
    reassembly = Reassembly()
    with pytest.raises(Malformed, match="came twice, with different data"):
        for block in (*first[:2], *second[1:]):
            reassembly.add(block)


def test_confirmed_recovery_of_a_lost_block() -> None:
    """The exchange of the sheet (more 2): window 3, block 3 comes after 4."""
    parts = [bytes((number,)) * 10 for number in range(1, 8)]
    order = (1, 2, 4, 3, 5, 6, 7)
    reassembly = Reassembly()
    found = [reassembly.add(Block(n, parts[n - 1], last=n == 7, window=1)) for n in order]
    assert found[-1] == b"".join(parts) and not any(found[:-1])
    with pytest.raises(Malformed):
        reassembly.add(Block(65, b"x", window=1))  # more than a window ahead of nothing


def test_a_block_ahead_that_contradicts_itself() -> None:
    reassembly = Reassembly()
    assert reassembly.add(Block(3, b"x", window=1)) is None
    assert reassembly.add(Block(3, b"x", window=1)) is None
    with pytest.raises(Malformed, match="twice"):
        reassembly.add(Block(3, b"y", window=1))


def test_acknowledgements_count_as_blocks_and_begin_nothing() -> None:
    reassembly = Reassembly()
    for number in (1, 2):
        assert reassembly.add(Block(number, b"", last=True, window=3, acknowledged=number)) is None
    assert not reassembly.holds_data and reassembly.missing == 3
    assert reassembly.add(Block(3, b"data", last=True, window=3)) == b"data"


def test_block_0_is_refused() -> None:
    with pytest.raises(Malformed, match="0"):
        Reassembly().add(Block(0, b"x"))


def test_F11_size_and_count_are_capped() -> None:
    reassembly = Reassembly(limit=1000)
    with pytest.raises(TooLarge, match="1000"):
        for number in range(1, 100):
            reassembly.add(Block(number, bytes(100), streaming=True))
    assert reassembly.missing is None
    reassembly = Reassembly(blocks=10)
    with pytest.raises(TooLarge, match="10 blocks"):
        for number in range(1, 100):
            reassembly.add(Block(number, b"", streaming=True))


def test_F01_every_truncation_is_truncated() -> None:
    for _, prefix in truncations([*BLOCKS, *gbt_blocks(LONG_APDU, 300)]):
        with pytest.raises(Truncated):
            gbt.decode(prefix)


@pytest.mark.slow
def test_F02_mutated_blocks() -> None:
    outcomes = hammer(gbt.decode, [*BLOCKS, *gbt_blocks(LONG_APDU, 300), gbt.encode(Block(1, b"", True))])
    assert {"value", "truncated", "malformed"} == set(outcomes)


@pytest.mark.slow
def test_F02_mutated_transfers() -> None:
    def decode(octets: bytes) -> None:
        reassembly = Reassembly(limit=1000, blocks=100)
        pos = 0
        while pos < len(octets):
            block, pos = gbt.decode_at(octets, pos)
            reassembly.add(block)

    confirmed = b"".join(gbt.encode(Block(n, b"data", n == 9, window=5)) for n in (1, 2, 4, 3, 6, 7, 5, 8, 9))
    outcomes = hammer(decode, [b"".join(BLOCKS), b"".join(gbt_blocks(LONG_APDU, 30)), confirmed])
    assert {"value", "truncated", "malformed"} <= set(outcomes)
