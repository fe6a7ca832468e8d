"""Dispatch by tag: every two octets that an APDU may start with lead to a message or a typed error."""

from __future__ import annotations

import pytest

from meterseal import apdu
from meterseal.apdu import ciphered
from meterseal.apdu.ciphered import DED_TAG, FORMS, GLO_TAG
from meterseal.apdu.initiate import CounterErrorResponse, ExceptionResponse
from meterseal.association.states import KIND_OF, Kind
from meterseal.errors import DecodeError, Malformed, MetersealError, Truncated, Unsupported

SHEET = {
    # The table of tags (security 5): plain, glo-, ded-.
    "initiate-request": (0x01, 0x21, 0x41),
    "read-request": (0x05, 0x25, 0x45),
    "write-request": (0x06, 0x26, 0x46),
    "initiate-response": (0x08, 0x28, 0x48),
    "read-response": (0x0C, 0x2C, 0x4C),
    "write-response": (0x0D, 0x2D, 0x4D),
    "confirmed-service-error": (0x0E, 0x2E, 0x4E),
    "unconfirmed-write-request": (0x16, 0x36, 0x56),
    "information-report-request": (0x18, 0x38, 0x58),
    "get-request": (0xC0, 0xC8, 0xD0),
    "set-request": (0xC1, 0xC9, 0xD1),
    "event-notification-request": (0xC2, 0xCA, 0xD2),
    "action-request": (0xC3, 0xCB, 0xD3),
    "get-response": (0xC4, 0xCC, 0xD4),
    "set-response": (0xC5, 0xCD, 0xD5),
    "action-response": (0xC7, 0xCF, 0xD7),
}


def test_the_tags_are_those_of_the_table() -> None:
    assert {(form.tag, form.name, form.plain_tag) for form in FORMS.values() if form.plain_tag} == {
        row
        for name, (plain, glo, ded) in SHEET.items()
        for row in ((glo, f"glo-{name}", plain), (ded, f"ded-{name}", plain))
    }
    assert {plain: glo for plain, glo, _ in SHEET.values()} == GLO_TAG
    assert {plain: ded for plain, _, ded in SHEET.values()} == DED_TAG
    assert [form.general for form in (FORMS[0xDB], FORMS[0xDC], FORMS[0xC8])] == [True, True, False]


def test_each_of_all_two_octet_starts_has_an_answer() -> None:
    """256 x 256: a declaration whose tag it is, or one of three typed errors, and always a name."""
    found = set()
    for first in range(256):
        for second in range(256):
            start = bytes((first, second))
            try:
                declared = apdu.message_type(start)
            except (Malformed, Unsupported):
                continue
            assert start.startswith(declared.tag)
            found.add(declared)
            assert apdu.name(start) == declared.name
    assert found == set(apdu.MESSAGES) - {CounterErrorResponse}


@pytest.mark.slow
def test_each_of_all_two_octet_starts_decodes_or_is_refused() -> None:
    for first in range(256):
        for second in range(256):
            for more in (b"", b"\x06", bytes(40)):
                octets = bytes((first, second)) + more
                try:
                    message = apdu.decode(octets)
                except (DecodeError, Unsupported):
                    continue
                assert octets.startswith(message.tag)


def test_one_octet_is_never_an_apdu() -> None:
    for octets in [b"", *(bytes((first,)) for first in range(256))]:
        with pytest.raises(Truncated):
            apdu.decode(octets)


def test_names_without_a_message() -> None:
    assert apdu.name(b"") == "unknown"
    assert apdu.name(b"\xc6\x01") == "unknown"
    assert apdu.name(b"\xc0") == "unknown"
    assert apdu.name(b"\xc8\x1e") == "glo-get-request"
    assert apdu.name(b"\xdd\x00") == "general-ciphering"
    assert apdu.name(b"\xd8\x01") == "exception-response"


@pytest.mark.parametrize("tag", [0xC6, 0xCE, 0xD6, 0xDE, 0x00, 0x02, 0x64, 0xE8, 0xFF])
def test_unassigned_tags_are_malformed(tag: int) -> None:
    with pytest.raises(Malformed, match=f"no APDU has the tag {tag:02X}"):
        apdu.decode(bytes((tag, 1)))


@pytest.mark.parametrize("octets", ["C000", "C004", "C108", "C206C1", "C309", "C400", "C506", "C705"])
def test_unknown_choices(octets: str) -> None:
    with pytest.raises((Malformed, Unsupported)):
        apdu.decode(bytes.fromhex(octets))


def test_ciphered_and_other_apdus_are_named_when_refused() -> None:
    with pytest.raises(Unsupported, match="general-glo-ciphering must be opened first"):
        apdu.decode(b"\xdb\x00")
    with pytest.raises(Unsupported, match="general-block-transfer is not decoded"):
        apdu.decode(b"\xe0\x00")


def test_exception_response_in_both_lengths() -> None:
    assert apdu.decode(bytes.fromhex("D80105")) == ExceptionResponse(1, 5)
    assert apdu.decode(bytes.fromhex("D8010600000007")) == CounterErrorResponse(1, 6, 7)
    for octets in ("D801", "D80106", "D80106000000"):
        with pytest.raises(Truncated):
            apdu.decode(bytes.fromhex(octets))
    for octets in ("D8010500000007", "D801060000000700"):
        with pytest.raises(Malformed):
            apdu.decode(bytes.fromhex(octets))


def test_every_apdu_has_a_kind_for_the_states() -> None:
    kinds = {message: KIND_OF.get(message) for message in apdu.MESSAGES}
    without = {message.name for message, kind in kinds.items() if kind is None}
    inside_acse = {"initiate-request", "initiate-response"}
    short_names = {
        name for name in SHEET if name.split("-")[0] in ("read", "write", "unconfirmed", "information")
    }
    assert without == inside_acse | short_names
    # What is sealed for others is told by its layers, before anything is decoded.
    assert {kind for kind in kinds.values() if kind} == set(Kind) - {Kind.SEALED}


# --- taking ciphered APDUs apart -----------------------------------------------------------------

TITLE = b"MSL00001"


@pytest.mark.parametrize("form", FORMS.values(), ids=lambda form: form.name)
@pytest.mark.parametrize("size", [0, 1, 122, 123, 250, 251, 70_000])
def test_build_and_parse_are_inverse(form: ciphered.Form, size: int) -> None:
    octets = ciphered.build(form, TITLE, 0x30, 0x01234567, bytes(size))
    title = TITLE if form.general else None
    assert ciphered.parse(octets) == (form, title, 0x30, 0x01234567, bytes(size))


def test_an_empty_title_is_a_title_left_out() -> None:
    assert ciphered.parse(bytes.fromhex("DB00053000000001")).title == b""


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        ("", Malformed),
        ("C0053000000001", Malformed),
        ("C8", Truncated),
        ("C8043000000001", Malformed),
        ("C80430000000", Malformed),
        ("C8063000000001", Truncated),
        ("C805300000000100", Malformed),
        ("C8803000000001", Malformed),
        ("C885000000000530000000", Malformed),
        ("DB074D534C303030303006300000000100", Malformed),
        ("DB094D534C303030303031053000000001", Malformed),
        ("DBFF4D534C3030303031", Malformed),
        ("DB08" + TITLE.hex(), Truncated),
    ],
)
def test_ciphered_apdus_that_are_none(octets: str, error: type[MetersealError]) -> None:
    with pytest.raises(error):
        ciphered.parse(bytes.fromhex(octets))
