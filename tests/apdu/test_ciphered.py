"""Ciphered APDUs taken apart: titles, lengths and headers that fit, and those that do not (F01, F02)."""

from __future__ import annotations

import pytest

from meterseal.apdu.ciphered import FORMS, build, parse
from meterseal.errors import Malformed, Truncated

TITLE = b"MSLHES01"
BODY = bytes(range(20))


@pytest.mark.parametrize("tag", FORMS, ids=lambda tag: FORMS[tag].name)
def test_each_form_there_and_back(tag: int) -> None:
    form = FORMS[tag]
    octets = build(form, TITLE, 0x30, 7, BODY)
    found = parse(octets)
    assert found == (form, TITLE if form.general else None, 0x30, 7, BODY)
    assert octets[0] == tag and octets[-20:] == BODY
    for end in range(len(octets)):
        with pytest.raises((Truncated, Malformed)):
            parse(octets[:end])
    with pytest.raises(Malformed, match="content of 25 octets, 26 left"):
        parse(octets + b"\0")


def test_a_title_may_be_left_out() -> None:
    assert parse(build(FORMS[0xDB], b"", 0x30, 7, b"")) == (FORMS[0xDB], b"", 0x30, 7, b"")


@pytest.mark.parametrize("size", [1, 7, 9, 16])
def test_B02_a_title_has_8_octets(size: int) -> None:
    with pytest.raises(Malformed, match=f"title of {size} octets, not 8"):
        parse(build(FORMS[0xDB], bytes(size), 0x30, 7, BODY))


@pytest.mark.parametrize("octets", ["DB08", "DB084D53", "DB7F" + "00" * 8, "DB82FFFF" + "00" * 30])
def test_F01_a_title_that_is_not_all_there(octets: str) -> None:
    with pytest.raises(Truncated, match="a system title of"):
        parse(bytes.fromhex(octets))


@pytest.mark.parametrize("size", range(5))
def test_B02_content_holds_at_least_its_header(size: int) -> None:
    with pytest.raises(Malformed, match=f"content of {size} octets has no security header"):
        parse(bytes((0xC8, size)) + bytes(size))


@pytest.mark.parametrize("octets", ["", "C0", "DD", "FF00"])
def test_what_is_not_ciphered(octets: str) -> None:
    with pytest.raises(Malformed, match="not a ciphered APDU"):
        parse(bytes.fromhex(octets))
