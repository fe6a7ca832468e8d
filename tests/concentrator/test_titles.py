"""Titles in front of messages: found where they stand, and nowhere in what is no header."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meterseal.apdu.acse import Aare, context_name
from meterseal.apdu.general import GeneralCiphering, GeneralSigning
from meterseal.concentrator import titles
from meterseal.framing import gbt

MINE, YOURS = bytes.fromhex("4D534C0000000001"), bytes.fromhex("4D534C0000000002")
AARE = Aare(application_context_name=context_name(3), result=0, user_diagnostic=0, responding_ap_title=MINE)
SIGNING = GeneralSigning(
    transaction_id=b"\1" * 8, originator_system_title=MINE, recipient_system_title=YOURS, date_time=b"",
    other_information=b"", content=b"\xc0\x01", signature=bytes(64),
)  # fmt: skip
CIPHERING = GeneralCiphering(
    transaction_id=b"\1" * 8, originator_system_title=MINE, recipient_system_title=YOURS, date_time=b"",
    other_information=b"", key_info=None, ciphered_content=bytes(30),
)  # fmt: skip
GENERAL = b"\xdb\x08" + MINE + b"\x05\x30" + bytes(4)


@pytest.mark.parametrize("octets", [AARE.encode(), SIGNING.encode(), CIPHERING.encode(), GENERAL])
def test_the_originator_stands_in_each_header(octets: bytes) -> None:
    assert titles.originator(octets) == MINE
    assert titles.originator(gbt.encode(gbt.Block(1, octets))) in (MINE, None)
    assert titles.originator(gbt.encode(gbt.Block(2, octets))) is None
    assert titles.accepted(octets) is (octets == AARE.encode())


def test_the_recipient_stands_in_layers_only() -> None:
    assert titles.recipient(SIGNING.encode()) == titles.recipient(CIPHERING.encode()) == YOURS
    assert titles.recipient(GENERAL) is None
    assert titles.recipient(AARE.encode()) is None


@pytest.mark.parametrize(
    "octets", [b"", b"\xdb", b"\xdb\x08\x01", b"\xdd\xff" + MINE * 40, b"\x61\x00", b"\xc4\x01"]
)
def test_no_title_in_what_is_cut_or_none(octets: bytes) -> None:
    assert titles.originator(octets) is None
    assert titles.recipient(octets) is None


@given(st.binary(max_size=120))
def test_any_octets_have_a_title_of_eight_or_none(octets: bytes) -> None:
    for lead in (b"", b"\xdb", b"\xdd", b"\xdf", b"\xe0\x40\x00\x01\x00\x00", b"\x61"):
        for found in (titles.originator(lead + octets), titles.recipient(lead + octets)):
            assert found is None or len(found) == 8
        assert titles.streams(lead + octets) in (True, False)
        assert titles.sealed(lead + octets) in (True, False)


def test_a_block_with_more_behind_it_streams() -> None:
    assert titles.streams(gbt.encode(gbt.Block(1, b"x", streaming=True)))
    assert not titles.streams(gbt.encode(gbt.Block(1, b"x", last=True)))
