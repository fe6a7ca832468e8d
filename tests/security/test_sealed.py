"""Sealed values: what whoever carries one is shown of it, and when one answers another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from meterseal.apdu.general import GeneralCiphering, IdentifiedKey
from meterseal.errors import Malformed, TooWeak
from meterseal.security.sealed import Sealed

FROM, TO = bytes.fromhex("4D534CFA00000001"), bytes.fromhex("4D534CFB00000002")
EXCHANGE = bytes.fromhex("0A0B")


def message(content: bytes = b"\x30\0\0\0\7" + bytes(13), **fields: bytes) -> bytes:
    made = GeneralCiphering(EXCHANGE, FROM, TO, b"", b"", IdentifiedKey(0), content)
    return made.replace(**fields).encode()


def test_it_is_shown_by_who_made_it_whom_it_is_for_and_its_exchange() -> None:
    octets = message()
    shown = f"{len(octets)} octets from 4D534CFA00000001 to 4D534CFB00000002, exchange 0A0B"
    assert str(Sealed.of(octets)) == shown
    assert Sealed.of(octets).size == len(octets)


@pytest.mark.parametrize(
    ("field", "said"),
    [
        ({"originator_system_title": b"7octets"}, "a system title has 8 octets"),
        ({"recipient_system_title": b"9 octets."}, "a system title has 8 octets"),
        ({"date_time": bytes(11)}, "a date-time of 11 octets"),
    ],
)
def test_its_header_has_the_lengths_of_any_other(field: dict[str, bytes], said: str) -> None:
    assert Sealed.of(message(date_time=bytes(12), other_information=bytes(200))).originator == FROM
    with pytest.raises(Malformed, match=f"general-ciphering: {said}"):
        Sealed.of(message(**field))


@pytest.mark.parametrize("missing", ["originator_system_title", "recipient_system_title"])
def test_it_names_two_parties(missing: str) -> None:
    with pytest.raises(Malformed, match="whom it is for"):
        Sealed.of(message(**{missing: b""}))


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (b"\x30\0\0\0\7", None),  # a header; whether anything follows it the recipient sees
        (b"\x30\0\0\0", TooWeak),
        (b"", TooWeak),
        (b"\x10\0\0\0\7", TooWeak),
        (b"\x20\0\0\0\7", TooWeak),
        (b"\x00\0\0\0\7", TooWeak),
        (b"\x32\0\0\0\7", None),  # any suite
    ],
)
def test_B04_only_with_a_header_that_says_authenticated_and_encrypted(
    content: bytes, error: type[Exception] | None
) -> None:
    if error is None:
        assert Sealed.of(message(content)).originator == FROM
        return
    with pytest.raises(error):
        Sealed.of(message(content))


def test_an_answer_has_the_parties_swapped_and_the_same_exchange() -> None:
    request = Sealed.of(message())
    answer = replace(request, originator=TO, recipient=FROM)
    assert answer.answers(request)
    for other in (
        request,
        replace(answer, originator=FROM),
        replace(answer, recipient=TO),
        replace(answer, transaction_id=b"\x0a\x0c"),
    ):
        assert not other.answers(request)
